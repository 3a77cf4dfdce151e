//! A last line without its newline, as a killed run or a full disk leaves it.
//!
//! The kernel takes no write(2) as a whole: a process that is killed within one leaves a part, up to the end of a page
//! of the file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The longest part that is looked for.
const PART_MAX: u64 = 1 << 20;
const STEP: usize = 64 << 10;
/// How lines of `eve:` and of both forms of `text:` begin; 0 is any digit.
const BEGINNINGS: [&[u8]; 2] = [b"{\"timestamp\":\"0000-00-00T", b"0000-00-00"];

/// What became of the end of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// The last line is whole.
    Whole,
    /// The last line is none of ours: it lacks its newline.
    Foreign,
    /// So many bytes of a record were cut off.
    Cut(u64),
}

/// Cuts off a record that is not whole. `reading` and `writing` are the same file, `len` its length. `any`: whatever is
/// there is a record.
///
/// # Errors
///
/// It cannot be read or cut.
pub fn mend(reading: &File, writing: &File, len: u64, any: bool) -> io::Result<Tail> {
    let mut part = Vec::new();
    let mut start = len;
    // From the end back to the last newline.
    while start > 0 && len - start < PART_MAX {
        let from = start.saturating_sub(STEP as u64);
        let mut step = vec![0; usize::try_from(start - from).unwrap_or(STEP)];
        reading.read_exact_at(&mut step, from)?;
        let newline = step.iter().rposition(|&byte| byte == b'\n');
        let behind = newline.map_or(0, |at| at + 1);
        start = from + behind as u64;
        step.drain(..behind);
        step.append(&mut part);
        part = step;
        if newline.is_some() {
            break;
        }
    }
    if part.is_empty() {
        return Ok(Tail::Whole);
    }
    if !any && !is_ours(&part) {
        return Ok(Tail::Foreign);
    }
    writing.set_len(start)?;
    Ok(Tail::Cut(len - start))
}

/// Whether a line begins as a record does, as far as it goes.
fn is_ours(line: &[u8]) -> bool {
    let fits = |(&byte, &form): (&u8, &u8)| match form {
        b'0' => byte.is_ascii_digit(),
        form => byte == form,
    };
    let mut forms = BEGINNINGS.iter();
    forms.any(|form| line.iter().zip(*form).all(fits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// The end of a file with this text, and what is left of it.
    fn mended(text: &[u8], any: bool) -> (Tail, Vec<u8>) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), text).expect("written");
        let open = File::options().read(true).append(true).open(file.path());
        let open = open.expect("it opens");
        let tail = mend(&open, &open, text.len() as u64, any).expect("mended");
        (tail, fs::read(file.path()).expect("read"))
    }

    #[test]
    fn every_part_of_a_record_is_cut_off_and_whole_lines_stay() {
        let records = [
            &b"{\"timestamp\":\"2026-11-30T20:21:17.000001+0000\",\"event_type\":\"flow\"}\n"[..],
            b"2026-11-30T20:21:17.000001Z eth0 in: New connection: \n",
            b"2026-11-30 20:21:17: New connection: \n",
        ];
        for record in records {
            for before in [&b""[..], record] {
                for len in 1..record.len() {
                    let text = [before, &record[..len]].concat();
                    let (tail, left) = mended(&text, false);
                    assert_eq!((tail, &left[..]), (Tail::Cut(len as u64), before));
                }
                let text = [before, record].concat();
                assert_eq!(mended(&text, false), (Tail::Whole, text));
            }
        }
    }

    #[test]
    fn a_line_of_somebody_else_stays_but_in_a_file_of_ours() {
        for text in [&b"to be done"[..], b"a\n{\"a\":1}", b"20x6-11-30", b"\n "] {
            assert_eq!(mended(text, false), (Tail::Foreign, text.to_vec()));
            assert!(matches!(mended(text, true).0, Tail::Cut(_)));
        }
        assert_eq!(mended(b"", true), (Tail::Whole, Vec::new()));
    }

    #[test]
    fn a_long_part_is_found_over_several_steps_and_one_beyond_all_measure_is_not() {
        let start = b"{\"timestamp\":\"2026-";
        for len in [STEP - 19, STEP, 5 * STEP + 7] {
            let text = [&b"a\n"[..], start, &vec![b'x'; len][..]].concat();
            // Behind the form's end anything may follow; here the date does not fit.
            assert_eq!(mended(&text, false).0, Tail::Foreign);
            let cut = (start.len() + len) as u64;
            assert_eq!(mended(&text, true), (Tail::Cut(cut), b"a\n".to_vec()));
        }
    }
}
