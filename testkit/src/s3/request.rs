//! One signed request over a plain connection, whatever proxy the environment names: enough to create buckets, without
//! an SDK. Signature Version 4: <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::AccessKey;

const TIMEOUT: Duration = Duration::from_secs(20);
const REGION: &str = "us-east-1";
/// SHA-256's, for HMAC.
const BLOCK_BYTES: usize = 64;

/// A request to `authority` (host and port). `path` has nothing that must be encoded.
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) authority: &'a str,
    pub(super) path: &'a str,
    pub(super) body: &'a [u8],
    pub(super) key: AccessKey,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Headers and body, for messages.
    #[expect(dead_code, reason = "shown by Debug")]
    text: String,
}

impl Request<'_> {
    pub(super) fn send(&self) -> io::Result<Answer> {
        let mut connection = TcpStream::connect(self.authority)?;
        connection.set_read_timeout(Some(TIMEOUT))?;
        connection.write_all(self.head(&chrono::Utc::now()).as_bytes())?;
        connection.write_all(self.body)?;
        let mut received = Vec::new();
        connection.read_to_end(&mut received)?;
        let text = String::from_utf8_lossy(&received).into_owned();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no HTTP answer: {text}")))?;
        Ok(Answer { status, text })
    }

    fn head(&self, now: &chrono::DateTime<chrono::Utc>) -> String {
        let time = now.format("%Y%m%dT%H%M%SZ").to_string();
        let content_hash = hex(&Sha256::digest(self.body));
        format!(
            "{} {} HTTP/1.1\r\nhost: {}\r\nx-amz-date: {time}\r\nx-amz-content-sha256: {content_hash}\r\n\
             authorization: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            self.method,
            self.path,
            self.authority,
            self.authorization(&time, &content_hash),
            self.body.len(),
        )
    }

    fn authorization(&self, time: &str, content_hash: &str) -> String {
        let headers = "host;x-amz-content-sha256;x-amz-date";
        let canonical = format!(
            "{}\n{}\n\nhost:{}\nx-amz-content-sha256:{content_hash}\nx-amz-date:{time}\n\n{headers}\n{content_hash}",
            self.method, self.path, self.authority,
        );
        let date = &time[..8];
        let scope = format!("{date}/{REGION}/s3/aws4_request");
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
        let secret = format!("AWS4{}", self.key.secret).into_bytes();
        let signing_key =
            [date, REGION, "s3", "aws4_request"].iter().fold(secret, |key, text| hmac(&key, text.as_bytes()));
        let signature = hex(&hmac(&signing_key, to_sign.as_bytes()));
        format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={headers}, Signature={signature}", self.key.id)
    }
}

/// HMAC with SHA-256 (RFC 2104); the keys here are shorter than a block.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0; BLOCK_BYTES];
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
