//! Files that are neither Parquet nor CSV, known by their first bytes or by their names.

/// A kind of file that cannot be read as what it was taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileKind {
    /// The kind, to be read after "is".
    pub(crate) what: &'static str,
    /// What to do about it.
    pub(crate) advice: &'static str,
}

const SAVE_SHEET: &str = "save the sheet as CSV";
const EXPORT: &str = "export the table as Parquet or CSV";
const UNPACK: &str = "unpack it, or compress the CSV with gzip and name it .csv.gz";

/// Where a kind's magic stands, the magic, the kind and what to do.
const MAGICS: [(usize, &[u8], &str, &str); 29] = [
    (0, b"PAR1", "Parquet", "name it .parquet"),
    (0, b"PARE", "Parquet with an encrypted footer", "write it without encryption"),
    (0, b"\x1f\x8b", "gzip-compressed", "name it .csv.gz, or unpack it"),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd", UNPACK),
    (0, b"BZh", "compressed with bzip2", UNPACK),
    (0, b"\xfd7zXZ\0", "compressed with xz", UNPACK),
    (0, b"\x04\x22\x4d\x18", "compressed with LZ4", UNPACK),
    (0, b"\xff\x06\0\0sNaPpY", "compressed with Snappy", UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (0, b"PK\x03\x04", "a ZIP archive", UNPACK),
    (0, b"PK\x05\x06", "a ZIP archive without files", UNPACK),
    (257, b"ustar", "a tar archive", UNPACK),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (xls)", SAVE_SHEET),
    (0, b"ORC", "ORC", EXPORT),
    (0, b"Obj\x01", "Avro", EXPORT),
    (0, b"ARROW1", "Arrow (Feather)", EXPORT),
    (0, b"FEA1", "Feather", EXPORT),
    (0, b"SQLite format 3\0", "an SQLite database", EXPORT),
    (8, b"DUCK", "a DuckDB database", EXPORT),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5", EXPORT),
    (0, b"\x93NUMPY", "a NumPy array", EXPORT),
    (0, b"<stata_dta>", "a Stata file", EXPORT),
    (0, b"$FL2", "an SPSS file", EXPORT),
    (0, b"%PDF-", "a PDF document", EXPORT),
    (0, b"\x89PNG\r\n", "a picture", "give the table itself"),
    (0, b"\xff\xd8\xff", "a picture", "give the table itself"),
    (0, b"version https://git-lfs", "a pointer of Git LFS", "fetch the file itself with `git lfs pull`"),
    (0, b"\x80\x04\x95", "a Python pickle", EXPORT),
];

const JSON: FileKind =
    FileKind { what: "JSON", advice: "export it as Parquet or CSV, or remove it where it lies beside the data" };

const UTF_16: FileKind = FileKind { what: "UTF-16 text", advice: "save it as UTF-8, in Excel as \"CSV UTF-8\"" };

/// The kind of a file that begins with these bytes, if it is a known one that is no CSV. Some 512 bytes are enough.
pub(crate) fn recognise(head: &[u8]) -> Option<FileKind> {
    if head.starts_with(b"PK\x03\x04") && is_workbook(head) {
        return Some(FileKind { what: "a workbook (xlsx, ods)", advice: SAVE_SHEET });
    }
    let has_magic = |(at, magic, ..): &&(usize, &[u8], &str, &str)| {
        // A magic of letters alone could stand in a header: what follows it there is text.
        let is_text = magic.iter().all(u8::is_ascii_alphanumeric);
        head.get(*at..).is_some_and(|head| head.starts_with(magic)) && !(is_text && is_line_of_text(head))
    };
    if let Some((_, _, what, advice)) = MAGICS.iter().find(has_magic) {
        return Some(FileKind { what, advice });
    }
    if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") || has_every_other_byte_zero(head) {
        return Some(UTF_16);
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    if is_json(text) {
        return Some(JSON);
    }
    let begins = |words: &[u8]| text.get(..words.len()).is_some_and(|start| start.eq_ignore_ascii_case(words));
    if begins(b"<!doctype html") || begins(b"<html") {
        return Some(FileKind {
            what: "an HTML page",
            advice: "download the table itself; a login page may stand in its place",
        });
    }
    begins(b"<?xml").then_some(FileKind { what: "XML", advice: EXPORT })
}

/// The same of a file that has a name: what is called JSON is none of the formats that are read, whatever it begins with.
pub(crate) fn recognise_named(name: &str, head: &[u8]) -> Option<FileKind> {
    let name = name.to_ascii_lowercase();
    let is_json = [".json", ".jsonl", ".ndjson"].iter().any(|ending| name.ends_with(ending));
    recognise(head).or(is_json.then_some(JSON))
}

/// Whether text without a magic is probably CSV.
pub(crate) fn is_like_csv(head: &[u8]) -> bool {
    recognise(head).is_none() && is_line_of_text(head) && head.iter().any(|byte| b",;\t|".contains(byte))
}

/// Whether a name without an ending of data says that the object is no data: what writers leave beside it, and documents.
pub(crate) fn is_no_data(key: &str) -> bool {
    const ENDINGS: [&str; 22] = [
        ".metadata",
        ".manifest",
        ".crc",
        ".md5",
        ".sha1",
        ".sha256",
        ".sha512",
        ".sig",
        ".log",
        ".xml",
        ".html",
        ".htm",
        ".md",
        ".rst",
        ".yaml",
        ".yml",
        ".toml",
        ".ini",
        ".sql",
        ".py",
        ".sh",
        ".pdf",
    ];
    const NAMES: [&str; 11] = [
        "manifest",
        "readme",
        "license",
        "licence",
        "copying",
        "notice",
        "changelog",
        "checksums",
        "success",
        "thumbs.db",
        "desktop.ini",
    ];
    let key = key.to_ascii_lowercase();
    let name = key.rsplit('/').next().unwrap_or_default();
    let stem = name.strip_suffix(".txt").unwrap_or(name);
    let is_manifest = !name.contains('.') && (name.ends_with("-manifest") || name.ends_with("_manifest"));
    ENDINGS.iter().any(|ending| name.ends_with(ending)) || NAMES.contains(&stem) || is_manifest
}

/// Names of what such archives begin with.
fn is_workbook(head: &[u8]) -> bool {
    let parts: [&[u8]; 5] = [b"[Content_Types].xml", b"_rels/", b"xl/", b"docProps/", b"mimetypeapplication/vnd.oasis"];
    let name = head.get(30..).unwrap_or_default();
    parts.iter().any(|part| name.starts_with(part))
}

/// Whether the first line, as far as it is there, is text.
fn is_line_of_text(head: &[u8]) -> bool {
    let head = &head[..head.len().min(512)];
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let is_control = |byte: &u8| byte.is_ascii_control() && !matches!(byte, b'\t' | b'\r');
    let is_utf_8 = match std::str::from_utf8(line) {
        Ok(_) => true,
        // Cut off amid a character.
        Err(error) => error.error_len().is_none(),
    };
    line.len() > 3 && is_utf_8 && !line.iter().any(is_control)
}

fn has_every_other_byte_zero(head: &[u8]) -> bool {
    let head = &head[..head.len().min(64) & !1];
    let zeros = |first: usize| head.iter().skip(first).step_by(2).filter(|byte| **byte == 0).count();
    let half = head.len() / 2;
    head.len() >= 8 && (zeros(0) == 0 && zeros(1) == half || zeros(1) == 0 && zeros(0) == half)
}

/// `{"…`, `{}`, `[{`, `["…`, `[1`, `[]`, with blanks and line breaks between.
fn is_json(text: &[u8]) -> bool {
    let (Some(first), rest) = (text.first(), text.get(1..).unwrap_or_default().trim_ascii_start()) else {
        return false;
    };
    match (first, rest.first()) {
        (b'{', Some(next)) => matches!(next, b'"' | b'}'),
        (b'[', Some(next)) => matches!(next, b'{' | b'[' | b'"' | b']' | b'-' | b'0'..=b'9'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_kinds_are_known_by_their_first_bytes() {
        let mut tar = vec![0; 512];
        tar[..8].copy_from_slice(b"data.csv");
        tar[257..262].copy_from_slice(b"ustar");
        let xlsx =
            [&b"PK\x03\x04\x14\0\x06\0\x08\0\0\0!\0"[..], &[7; 12], b"\x13\0\x08\x02[Content_Types].xml"].concat();
        let zip = [&b"PK\x03\x04\x14\0\0\0\x08\0\0\0!\0"[..], &[7; 12], b"\x08\0\0\0data.csv"].concat();
        let utf_16: Vec<u8> = "id,x\n1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let utf_16_big: Vec<u8> = "id,x\n1,2\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let cases: [(&[u8], &str); 29] = [
            (b"PAR1\x15\0\x15\x10", "Parquet"),
            (b"\x1f\x8b\x08\0", "gzip-compressed"),
            (b"\x28\xb5\x2f\xfd\x04", "compressed with zstd"),
            (b"BZh91AY&SY\x8f\x01", "compressed with bzip2"),
            (b"\xfd7zXZ\0\0\x04", "compressed with xz"),
            (b"\x04\x22\x4d\x18\x64", "compressed with LZ4"),
            (&xlsx, "a workbook (xlsx, ods)"),
            (&zip, "a ZIP archive"),
            (&tar, "a tar archive"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "an old Excel workbook (xls)"),
            (b"ORC\x0a\x03\0\0", "ORC"),
            (b"Obj\x01\x04\x14", "Avro"),
            (b"ARROW1\0\0\xff", "Arrow (Feather)"),
            (b"FEA1\0\0\0", "Feather"),
            (b"SQLite format 3\0\x10", "an SQLite database"),
            (b"%PDF-1.7\n", "a PDF document"),
            (b"\x89HDF\r\n\x1a\n", "HDF5"),
            (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
            (b"\xff\xfei\0d\0", "UTF-16 text"),
            (b"\xfe\xff\0i\0d", "UTF-16 text"),
            (&utf_16, "UTF-16 text"),
            (&utf_16_big, "UTF-16 text"),
            (b"{\"a\": 1}\n", "JSON"),
            (b"\xef\xbb\xbf [\n  {\"a\": 1}]", "JSON"),
            (b"[1, 2]", "JSON"),
            (b"{\n}", "JSON"),
            (b"<!DOCTYPE HTML><html>", "an HTML page"),
            (b"\n<html lang=en>", "an HTML page"),
            (b"<?xml version='1.0'?><Error>", "XML"),
        ];
        for (head, what) in cases {
            assert_eq!(recognise(head).map(|kind| kind.what), Some(what), "{:?}", String::from_utf8_lossy(head));
        }
    }

    #[test]
    fn headers_are_no_magic() {
        let headers: [&[u8]; 13] = [
            b"id,x\n1,2\n",
            b"ORCID,name\n1,2\n",
            b"ORC,x\n1,2\n",
            b"BZh,x\n1,2\n",
            b"PAR1,x\n1,2\n",
            b"FEA1,FEA2\n1,2\n",
            b"id,name,DUCK\n1,2,3\n",
            b"[id],[x]\n1,2\n",
            b"{id},x\n",
            b"\"id\",\"x\"\n",
            b"<id>,x\n",
            b"\xef\xbb\xbfid,x\n",
            "größe,é\n".as_bytes(),
        ];
        for head in headers {
            assert_eq!(recognise(head), None, "{:?}", String::from_utf8_lossy(head));
            assert!(is_like_csv(head));
        }
        assert_eq!(recognise(b""), None);
        assert!(!is_like_csv(b"") && !is_like_csv(b"\x15\x04,\x15\n") && !is_like_csv(b"one word\n"));
    }

    #[test]
    fn what_is_called_json_is_json() {
        for name in ["a/x.json", "X.JSONL", "x.ndjson"] {
            assert_eq!(recognise_named(name, b"id,x\n1,2\n"), Some(JSON), "{name}");
            assert!(!is_no_data(name), "its kind says more: {name}");
        }
        assert_eq!(recognise_named("x.csv", b"id,x\n1,2\n"), None);
    }

    #[test]
    fn names_say_what_is_no_data() {
        for key in [
            "a/x.csv.metadata",
            "manifest",
            "unload/000.manifest",
            "unload_manifest",
            "x.parquet.crc",
            "README",
            "readme.txt",
            "README.md",
            "a/b/run.LOG",
            "x.csv.md5",
        ] {
            assert!(is_no_data(key), "{key}");
        }
        for key in [
            "20260101_000000_00001_abcde_0f3c",
            "part-00000",
            "x.tsv",
            "x.txt",
            "x.psv",
            "x.dat",
            "x.data",
            "x.gz",
            "manifest/part-0",
            "json",
            "manifesto",
            "0000_part_00",
        ] {
            assert!(!is_no_data(key), "{key}");
        }
    }
}
