//! CPUs: which this process may use, the value of `--cores`, and pinning.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Upper bound of CPU numbers: the kernel's largest `NR_CPUS`.
const CPUS_MAX: usize = 8_192;

/// The CPUs this process may use, ascending, at least one: its affinity, which a cgroup's cpuset narrows.
///
/// Determined at the first call, which must precede any pinning: `core_affinity` lists only the CPU of a
/// pinned caller.
pub fn allowed() -> &'static [usize] {
    static ALLOWED: OnceLock<Vec<usize>> = OnceLock::new();
    ALLOWED.get_or_init(|| {
        let listed: Vec<usize> = core_affinity::get_core_ids()
            .unwrap_or_default()
            .into_iter()
            .map(|core| core.id)
            .collect();
        let known = [listed, from_status(), online()];
        let found = known.into_iter().find(|found| !found.is_empty());
        let mut found = found.unwrap_or_else(|| vec![0]);
        found.sort_unstable();
        found
    })
}

/// The CPUs that are online, ascending; empty if unknown.
pub fn online() -> Vec<usize> {
    from_file("/sys/devices/system/cpu/online")
}

/// The CPUs that `--cores` may name: the allowed ones, and within the cgroup's cpuset those isolated by
/// `isolcpus`, which are in no thread's affinity by default.
pub fn selectable() -> Vec<usize> {
    let isolated = from_file("/sys/devices/system/cpu/isolated");
    let cpuset = cgroup_cpuset();
    let online = online();
    let granted = |cpu: &usize| {
        online.contains(cpu) && cpuset.as_ref().is_none_or(|cpuset| cpuset.contains(cpu))
    };
    let mut cpus: BTreeSet<usize> = allowed().iter().copied().collect();
    cpus.extend(isolated.into_iter().filter(granted));
    cpus.into_iter().collect()
}

/// The CPUs of this process's cgroup (version 2), if it limits them.
pub fn cgroup_cpuset() -> Option<Vec<usize>> {
    let path = cgroup_path()?;
    let text = fs::read_to_string(path.join("cpuset.cpus.effective")).ok()?;
    parse_list(text.trim()).ok().filter(|cpus| !cpus.is_empty())
}

/// The folder of this process's cgroup (version 2), if there is one.
pub fn cgroup_path() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(PathBuf::from("/sys/fs/cgroup").join(own))
}

/// Pins the calling thread to `cpu`.
///
/// # Errors
///
/// EINVAL if the CPU is offline, not in the cgroup's cpuset, or beyond 1023; EPERM under some
/// container policies.
pub fn pin_current_thread(cpu: usize) -> Result<(), Errno> {
    pin(0, cpu)
}

fn pin(thread: i32, cpu: usize) -> Result<(), Errno> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(thread), &set)
}

/// Runs `work`, which may pin the calling thread, and restores the thread's affinity.
pub fn keeping_affinity<T>(work: impl FnOnce() -> T) -> T {
    let before = sched_getaffinity(Pid::from_raw(0));
    let done = work();
    if let Ok(before) = before {
        // It fails if the CPUs were taken away meanwhile. The kernel has then chosen others.
        let _ = sched_setaffinity(Pid::from_raw(0), &before);
    }
    done
}

/// The calling thread's ID (TID), for [`Pins`].
pub fn thread_id() -> i32 {
    nix::unistd::gettid().as_raw()
}

/// A pinned thread.
#[derive(Debug)]
struct Pin {
    /// Its TID; 0 until it is stored.
    thread: Arc<AtomicI32>,
    /// The CPU it was assigned.
    home: usize,
    /// The CPU it is on.
    on: usize,
}

/// A thread that must move: its CPU went offline or came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Index, in the order of [`Pins::add`].
    pub thread: usize,
    pub from: usize,
    pub to: usize,
}

/// Pinned threads. When a CPU goes offline, the kernel drops the pins of its threads and does not restore them.
#[derive(Debug, Default)]
pub struct Pins(Vec<Pin>);

impl Pins {
    /// Adds a thread pinned to `home`, which stores its TID in the returned atomic.
    pub fn add(&mut self, home: usize) -> Arc<AtomicI32> {
        let thread = Arc::new(AtomicI32::new(0));
        self.0.push(Pin {
            thread: Arc::clone(&thread),
            home,
            on: home,
        });
        thread
    }

    /// Plans moves: home if that CPU is online, else away from an offline one, to the online CPU in `allowed`
    /// with the fewest of our threads.
    pub fn plan(&mut self, online: &[usize], allowed: &[usize]) -> Vec<Moved> {
        let mut moved = Vec::new();
        let mut go = |pin: &mut Pin, thread: usize, to: usize| {
            if to != pin.on {
                moved.push(Moved {
                    thread,
                    from: pin.on,
                    to,
                });
                pin.on = to;
            }
        };
        // Moves home first: the others then see which CPUs are taken.
        for (thread, pin) in self.0.iter_mut().enumerate() {
            if online.contains(&pin.home) {
                go(pin, thread, pin.home);
            }
        }
        for thread in 0..self.0.len() {
            let on = self.0[thread].on;
            if online.contains(&on) {
                continue;
            }
            let load = |cpu: &usize| self.0.iter().filter(|pin| pin.on == *cpu).count();
            let usable = allowed.iter().copied().filter(|cpu| online.contains(cpu));
            let to = usable.min_by_key(load).unwrap_or(on);
            go(&mut self.0[thread], thread, to);
        }
        moved
    }

    /// Carries out one move of the plan.
    ///
    /// # Errors
    ///
    /// As [`pin_current_thread`].
    pub fn carry_out(&self, moved: &Moved) -> Result<(), Errno> {
        pin(
            self.0[moved.thread].thread.load(Ordering::Acquire),
            moved.to,
        )
    }
}

/// Reads a value of `--cores`, such as `2,3,6-8`, and keeps its order: the first worker gets the
/// first CPU. `allowed` is [`selectable`].
///
/// # Errors
///
/// Names the value, the part and what is allowed.
pub fn parse_cores(value: &str, allowed: &[usize]) -> Result<Vec<usize>, String> {
    let wrong = |why: String| format!("--cores {value}: {why}");
    let cpus = parse_list(value).map_err(|part| {
        wrong(format!(
            "{part:?} must be a CPU number or a range, as in 2,3,6-8"
        ))
    })?;
    let mut seen = BTreeSet::new();
    for &cpu in &cpus {
        if !allowed.contains(&cpu) {
            let allowed = list_text(allowed);
            return Err(wrong(format!(
                "CPU {cpu} is not one this process may use, which are {allowed}"
            )));
        }
        if !seen.insert(cpu) {
            return Err(wrong(format!("CPU {cpu} is named twice")));
        }
    }
    Ok(cpus)
}

/// `0-2,5` for 0, 1, 2, 5. Takes ascending numbers.
pub fn list_text(cpus: &[usize]) -> String {
    let runs = cpus.chunk_by(|a, b| a + 1 == *b);
    let text = |run: &[usize]| match run {
        [first, .., last] => format!("{first}-{last}"),
        rest => rest.iter().map(usize::to_string).collect(),
    };
    runs.map(text).collect::<Vec<_>>().join(",")
}

/// Reads the kernel's list format. The error is the part that is wrong.
fn parse_list(text: &str) -> Result<Vec<usize>, &str> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let trimmed = part.trim();
        let (first, last) = trimmed.split_once('-').unwrap_or((trimmed, trimmed));
        let number = |digits: &str| digits.parse().ok().filter(|&cpu: &usize| cpu < CPUS_MAX);
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => cpus.extend(first..=last),
            _ => return Err(part),
        }
    }
    Ok(cpus)
}

fn from_file(path: &str) -> Vec<usize> {
    let text = fs::read_to_string(path).unwrap_or_default();
    parse_list(text.trim()).unwrap_or_default()
}

/// `Cpus_allowed_list` of `/proc/self/status`, for machines too large for the affinity call.
fn from_status() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut lines = status.lines();
    let list = lines.find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    parse_list(list.unwrap_or_default().trim()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The CPUs of the calling thread's affinity.
    fn affinity() -> Result<Vec<usize>, Errno> {
        let set = sched_getaffinity(Pid::from_raw(0))?;
        let is_set = |&cpu: &usize| set.is_set(cpu).unwrap_or(false);
        Ok((0..CpuSet::count()).filter(is_set).collect())
    }

    #[test]
    fn cores_are_read_in_their_order() {
        let all: Vec<usize> = (0..16).collect();
        assert_eq!(parse_cores("2,3,6-8", &all), Ok(vec![2, 3, 6, 7, 8]));
        assert_eq!(parse_cores(" 7 , 0", &all), Ok(vec![7, 0]));
    }

    #[test]
    fn a_wrong_cores_value_is_named_with_what_is_allowed() {
        let error = |value| parse_cores(value, &[0, 1, 2, 5]).expect_err(value);
        for value in [
            "",
            "x",
            "2-",
            "-2",
            "3-2",
            "1,,2",
            "1-2-3",
            "99999",
            "0-4000000000",
        ] {
            assert!(
                error(value).contains("must be a CPU number or a range"),
                "{value}"
            );
        }
        assert_eq!(error("1,1"), "--cores 1,1: CPU 1 is named twice");
        let expected = "--cores 1,4: CPU 4 is not one this process may use, which are 0-2,5";
        assert_eq!(error("1,4"), expected);
    }

    #[test]
    fn a_list_and_its_text_are_the_same() {
        for text in ["0", "0-1", "0-2,5", "1,3,5", "0,2-63"] {
            assert_eq!(list_text(&parse_list(text).expect(text)), text);
        }
    }

    #[test]
    fn a_thread_can_be_pinned_and_the_allowed_set_stays_known() {
        let before = allowed().to_vec();
        assert!(!before.is_empty());
        let last = *before.last().expect("at least one");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert_eq!(pin_current_thread(last), Ok(()));
                assert_eq!(affinity(), Ok(vec![last]));
                assert_eq!(allowed(), before);
            });
        });
        assert!(selectable().contains(&last));
    }

    #[test]
    fn a_thread_leaves_a_cpu_that_goes_offline_and_comes_back_with_it() {
        let mut pins = Pins::default();
        for home in [1, 2, 3] {
            pins.add(home);
        }
        let allowed = [0, 1, 2, 3];
        let moved = |thread, from, to| Moved { thread, from, to };
        assert_eq!(pins.plan(&[0, 1, 2, 3], &allowed), []);
        assert_eq!(pins.plan(&[0, 1, 2], &allowed), [moved(2, 3, 0)]);
        assert_eq!(pins.plan(&[0, 1, 2], &allowed), [], "it stays");
        assert_eq!(pins.plan(&[0, 1], &allowed), [moved(1, 2, 0)]);
        assert_eq!(
            pins.plan(&[1, 3], &allowed),
            [moved(2, 0, 3), moved(1, 0, 1)]
        );
        assert_eq!(pins.plan(&[0, 1, 2, 3], &allowed), [moved(1, 1, 2)]);
        assert_eq!(pins.plan(&[], &allowed), [], "nowhere to go");
    }

    #[test]
    fn a_thread_that_was_pinned_for_a_while_may_run_where_it_might_before() {
        let last = *allowed().last().expect("at least one");
        std::thread::spawn(move || {
            let before = affinity();
            let inside = keeping_affinity(|| {
                assert_eq!(pin_current_thread(last), Ok(()));
                affinity()
            });
            assert_eq!((inside, affinity()), (Ok(vec![last]), before));
        })
        .join()
        .expect("it holds");
    }

    #[test]
    fn a_plan_moves_the_thread() {
        let last = *allowed().last().expect("at least one");
        let mut pins = Pins::default();
        let told = pins.add(CPUS_MAX);
        let (asked, answer) = std::sync::mpsc::channel();
        let (done, ended) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                asked.send(thread_id()).expect("somebody waits");
                ended.recv().expect_err("it is dropped");
                assert_eq!(affinity(), Ok(vec![last]));
            });
            told.store(answer.recv().expect("a number"), Ordering::Release);
            let moved = pins.plan(&[last], &[last]);
            assert_eq!(moved.len(), 1);
            assert_eq!(pins.carry_out(&moved[0]), Ok(()));
            drop(done);
        });
    }

    #[test]
    fn a_cpu_that_cannot_be_is_an_error_and_no_panic() {
        for cpu in [1_023, 1_024, 8_192, usize::MAX] {
            if !online().contains(&cpu) {
                assert_eq!(pin_current_thread(cpu), Err(Errno::EINVAL), "{cpu}");
            }
        }
    }
}
