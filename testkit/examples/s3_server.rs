//! A real S3 server for scripts: prints what its clients need in their environment, one `NAME=value` a line and then an
//! empty line; ends with its standard input. Its bucket is called `bench`.

use std::io::{self, Read, Write};

use testkit::s3::S3Server;

fn main() -> io::Result<()> {
    let server = S3Server::start();
    server.create_bucket("bench");
    let mut stdout = io::stdout();
    for (name, value) in server.env() {
        writeln!(stdout, "{name}={value}")?;
    }
    writeln!(stdout)?;
    stdout.flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
