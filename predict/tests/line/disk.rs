//! Output on disks that are full or cannot be written.

use testkit::disk::Disk;

use super::Workshop;

#[test]
fn a_full_output_disk_is_exit_8_and_no_result() {
    let Some(disk) = Disk::of_kib(16) else { return };
    let workshop = Workshop::with_model();
    let output = disk.path().display().to_string();
    let failed = workshop.predict().env("OUTPUT", &output).run();
    failed.failed(8, &[&output]);
    assert!(!disk.path().join("latest.json").exists());
}

#[test]
fn an_output_disk_that_cannot_be_written_is_access_denied() {
    let Some(disk) = Disk::of_kib(1024) else { return };
    disk.make_read_only();
    let workshop = Workshop::with_model();
    let output = disk.path().display().to_string();
    workshop.predict().env("OUTPUT", &output).run().failed(2, &[&output, "Read-only"]);
}
