//! The server's process, which must not outlive the tests, however they end.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{ADMIN, READER};

/// Runs the server until its standard input ends, which it does with the process that holds the other end of the pipe;
/// then kills it and removes its folder (`$1`) and the sockets that it puts into `/tmp` whatever it is told (`$2`).
const GUARDIAN: &str = r#"
folder=$1 sockets=$2; shift 2
"$@" >"$folder/log" 2>&1 </dev/null &
read -r _
kill -9 $!; wait $! 2>/dev/null
rm -rf "$folder" $sockets
"#;

/// SeaweedFS: master, volume server, filer and S3 gateway in one process.
#[derive(Debug)]
pub(super) struct Process {
    guardian: Child,
    folder: PathBuf,
    port: u16,
}

impl Process {
    pub(super) fn spawn() -> Self {
        let folder = tempfile::Builder::new().prefix("s3-server-").tempdir().expect("a temporary folder").keep();
        fs::create_dir(folder.join("data")).expect("a folder for the data");
        fs::write(folder.join("s3.json"), identities()).expect("the server's keys");
        let ports = free_ports();
        let guardian = Command::new("/bin/sh")
            .args(["-c", GUARDIAN, "s3-server-guardian"])
            .arg(&folder)
            .arg(sockets(&ports))
            .arg(installed())
            .args(options(&folder, &ports))
            .current_dir(&folder)
            .env("GOMEMLIMIT", "400MiB")
            .env("NO_PROXY", "*")
            .env("no_proxy", "*")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C at the terminal is for the tests; the guardian ends after them.
            .process_group(0)
            .spawn()
            .expect("a shell");
        Self { guardian, folder, port: ports[0] }
    }

    /// Of S3.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    #[cfg(test)]
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its log has a fatal error, such as a port that is taken.
    pub(super) fn has_failed(&self) -> bool {
        self.log().lines().any(|line| line.starts_with('F'))
    }

    pub(super) fn end_of_log(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn log(&self) -> String {
        let mut log = Vec::new();
        if let Ok(mut file) = fs::File::open(self.folder.join("log")) {
            let _ = file.read_to_end(&mut log);
        }
        String::from_utf8_lossy(&log).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        let _ = self.guardian.wait();
    }
}

/// The path of the program, installed where it is not yet.
fn installed() -> String {
    let script = crate::project().join("scripts/setup-s3-server");
    let output = Command::new(script).stderr(Stdio::inherit()).output().expect("scripts/setup-s3-server");
    assert!(output.status.success(), "scripts/setup-s3-server failed");
    String::from_utf8(output.stdout).expect("a path").trim().to_owned()
}

/// Eight ports that nobody uses now. The first is S3's.
fn free_ports() -> [u16; 8] {
    let listeners: [TcpListener; 8] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("a port").port())
}

fn options(folder: &Path, ports: &[u16; 8]) -> Vec<String> {
    let [s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc] = ports;
    let folder = folder.display();
    vec![
        "-logtostderr=true".to_owned(),
        "server".to_owned(),
        "-ip=127.0.0.1".to_owned(),
        "-ip.bind=127.0.0.1".to_owned(),
        format!("-dir={folder}/data"),
        format!("-master.port={master}"),
        format!("-master.port.grpc={master_grpc}"),
        "-master.telemetry=false".to_owned(),
        "-master.electionTimeout=1s".to_owned(),
        "-master.heartbeatInterval=100ms".to_owned(),
        "-master.volumeSizeLimitMB=1024".to_owned(),
        // Every bucket takes seven, whatever little they hold.
        "-volume.max=10000".to_owned(),
        format!("-volume.port={volume}"),
        format!("-volume.port.grpc={volume_grpc}"),
        "-filer".to_owned(),
        format!("-filer.port={filer}"),
        format!("-filer.port.grpc={filer_grpc}"),
        format!("-filer.localSocket={folder}/filer.sock"),
        "-s3".to_owned(),
        format!("-s3.port={s3}"),
        format!("-s3.port.grpc={s3_grpc}"),
        "-s3.port.iceberg=0".to_owned(),
        "-s3.port.lance=0".to_owned(),
        "-s3.autoCreateBucket=false".to_owned(),
        format!("-s3.config={folder}/s3.json"),
        format!("-s3.localSocket={folder}/s3.sock"),
    ]
}

fn sockets(ports: &[u16; 8]) -> String {
    let names = ports.iter().map(|port| format!("/tmp/seaweedfs-*-grpc-{port}.sock"));
    names.collect::<Vec<_>>().join(" ")
}

fn identities() -> String {
    let identity = |name: &str, key: super::AccessKey, actions: &[&str]| {
        serde_json::json!({
            "name": name,
            "credentials": [{ "accessKey": key.id, "secretKey": key.secret }],
            "actions": actions,
        })
    };
    serde_json::json!({ "identities": [
        identity("admin", ADMIN, &["Admin", "Read", "Write", "List", "Tagging"]),
        identity("reader", READER, &["Read", "List"]),
    ]})
    .to_string()
}
