//! The program at the interfaces that are watched.
//!
//! An interface is followed by its index, so that it keeps the program under another name; one that is gone gets it again
//! when an interface of its last name is there. Another XDP program is never replaced.

use super::pins::Pins;
use crate::host::nic::{self, Interface};
use crate::sys::bpf::{Link, Program};
use crate::words::printable;
use nix::errno::Errno;
use std::collections::BTreeMap;
use std::io;

/// `XDP_FLAGS_SKB_MODE` and `XDP_FLAGS_DRV_MODE` of `linux/if_link.h`.
const GENERIC_FLAG: u32 = 1 << 1;
const NATIVE_FLAG: u32 = 1 << 2;

/// How the program is at an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// In the driver.
    Native,
    /// In the kernel, after it has made a packet of the frame.
    Generic,
}

impl Mode {
    const ALL: [Self; 2] = [Self::Native, Self::Generic];

    fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }

    fn flag(self) -> u32 {
        match self {
            Self::Native => NATIVE_FLAG,
            Self::Generic => GENERIC_FLAG,
        }
    }

    /// Name of a link to the interface with this index.
    fn pin(self, ifindex: u32) -> String {
        format!("{}-{ifindex}", self.word())
    }

    fn of_pin(name: &str) -> Option<Self> {
        let (word, ifindex) = name.split_once('-')?;
        ifindex.parse::<u32>().ok()?;
        Self::ALL.into_iter().find(|mode| mode.word() == word)
    }
}

#[derive(Debug)]
struct Attached {
    ifindex: u32,
    link: Link,
    mode: Mode,
    /// Its name in the folder of pins.
    pin: Option<String>,
}

impl Attached {
    fn is_alive(&self) -> bool {
        self.link
            .ifindex()
            .is_ok_and(|ifindex| ifindex == self.ifindex)
    }

    /// Takes the program away from the interface.
    fn remove(self, pins: Option<&Pins>) -> io::Result<()> {
        match (&self.pin, pins) {
            (Some(name), Some(pins)) => pins.remove(name),
            _ => Ok(()),
        }
    }
}

/// One interface that is watched.
#[derive(Debug)]
struct Hook {
    /// Its last name.
    name: String,
    attached: Option<Attached>,
    /// Why the program is not there.
    refused: Option<String>,
}

/// All of them.
#[derive(Debug)]
pub struct Hooks {
    hooks: Vec<Hook>,
}

impl Hooks {
    /// For interfaces of these names; nothing is changed yet.
    pub fn of(names: &[String]) -> Self {
        let hook = |name: &String| Hook {
            name: name.clone(),
            attached: None,
            refused: None,
        };
        Self {
            hooks: names.iter().map(hook).collect(),
        }
    }

    /// Takes over the links of an earlier run, with this program in them, and puts it to the other interfaces. Returns
    /// sentences.
    ///
    /// # Errors
    ///
    /// Those of rtnetlink, and of removing a name.
    pub fn adopt(&mut self, program: &Program, pins: Option<&Pins>) -> io::Result<Vec<String>> {
        let mut found = match pins {
            Some(pins) => earlier(program, pins)?,
            None => BTreeMap::new(),
        };
        let interfaces = nic::list()?;
        for hook in &mut self.hooks {
            let own = interfaces.iter().find(|one| one.name == hook.name);
            hook.attached = own.and_then(|own| found.remove(&own.ifindex));
        }
        // A helper that is started again has the names of its sensor's start: an interface with a link whose name is not
        // among them, and a name without an interface, are one that was renamed since.
        let is_there = |hook: &Hook| interfaces.iter().any(|one| one.name == hook.name);
        for hook in self.hooks.iter_mut().filter(|hook| !is_there(hook)) {
            hook.attached = found.pop_first().map(|(_, attached)| attached);
        }
        // Those that are not watched any more.
        for attached in found.into_values() {
            attached.remove(pins)?;
        }
        self.renew(program, pins)
    }

    /// Follows the interfaces as they are now. Returns sentences about what is new.
    ///
    /// # Errors
    ///
    /// Those of rtnetlink.
    pub fn renew(&mut self, program: &Program, pins: Option<&Pins>) -> io::Result<Vec<String>> {
        let interfaces = nic::list()?;
        let mut said = Vec::new();
        for hook in &mut self.hooks {
            let own = hook.attached.as_ref().map(|attached| attached.ifindex);
            let same = interfaces.iter().find(|one| Some(one.ifindex) == own);
            if let (Some(there), Some(attached)) = (same, &hook.attached) {
                hook.name.clone_from(&there.name);
                if attached.is_alive() {
                    continue;
                }
                let name = printable(&hook.name);
                said.push(format!(
                    "another program took the XDP program away from {name}"
                ));
            }
            if let Some(attached) = hook.attached.take() {
                attached.remove(pins)?;
            }
            let Some(there) = interfaces.iter().find(|one| one.name == hook.name) else {
                hook.refused = None;
                continue;
            };
            let name = printable(&hook.name);
            match attach(there, program, pins) {
                Ok(attached) => {
                    let word = attached.mode.word();
                    let lasts = match attached.pin.is_none() && pins.is_some() {
                        true => "; if the block helper is killed, that ends: its name is taken",
                        false => "",
                    };
                    said.push(format!(
                        "{name} drops packets of blocked sources (XDP, {word} mode){lasts}"
                    ));
                    hook.attached = Some(attached);
                    hook.refused = None;
                }
                Err(why) => {
                    if hook.refused.as_ref() != Some(&why) && !there.loopback {
                        said.push(format!(
                            "{name} does not drop packets of blocked sources: {why}"
                        ));
                    }
                    hook.refused = Some(why);
                }
            }
        }
        Ok(said)
    }

    /// Why it is at no interface, if every one that is there refused it.
    pub fn all_refused(&self) -> Option<String> {
        if self.hooks.iter().any(|hook| hook.attached.is_some()) {
            return None;
        }
        let why = |hook: &Hook| {
            let why = hook.refused.as_ref()?;
            Some(format!("{}: {why}", printable(&hook.name)))
        };
        let all: Vec<String> = self.hooks.iter().filter_map(why).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// Whether an interface is there that may take the program later.
    pub fn is_any_refused(&self) -> bool {
        self.hooks.iter().any(|hook| hook.refused.is_some())
    }

    /// Takes the program away from all interfaces.
    ///
    /// # Errors
    ///
    /// Those of removing a name.
    pub fn remove(&mut self, pins: Option<&Pins>) -> io::Result<()> {
        let all = self
            .hooks
            .iter_mut()
            .filter_map(|hook| hook.attached.take());
        let results: Vec<_> = all.map(|attached| attached.remove(pins)).collect();
        results.into_iter().collect()
    }
}

/// Takes the program of an earlier run from its interfaces, and removes the names of its links.
///
/// # Errors
///
/// Those of bpf(2) and of removing a name.
pub fn remove_left(pins: &Pins) -> io::Result<()> {
    for name in pins.names()? {
        // What is no link to an interface is not ours.
        if Mode::of_pin(&name).is_some()
            && let Ok(link) = Link::pinned(&pins.path(&name))
        {
            link.detach()?;
            pins.remove(&name)?;
        }
    }
    Ok(())
}

/// The links of an earlier run that are at an interface, by its index, with this program in them. The names of others are
/// removed.
fn earlier(program: &Program, pins: &Pins) -> io::Result<BTreeMap<u32, Attached>> {
    let mut found = BTreeMap::new();
    for name in pins.names()? {
        // What is no link to an interface is not ours.
        let Some(mode) = Mode::of_pin(&name) else {
            continue;
        };
        let Ok(link) = Link::pinned(&pins.path(&name)) else {
            continue;
        };
        let ifindex = link.ifindex()?;
        let is_updated = ifindex != 0 && link.update(program).is_ok();
        let attached = Attached {
            ifindex,
            link,
            mode,
            pin: Some(name),
        };
        match is_updated {
            true => drop(found.insert(ifindex, attached)),
            false => attached.remove(Some(pins))?,
        }
    }
    Ok(found)
}

/// Whether this is the name of a link that is at no interface any more. Such a link is never at one again.
pub fn is_detached(name: &str, pins: &Pins) -> bool {
    let ifindex = || Link::pinned(&pins.path(name)).and_then(|link| link.ifindex());
    Mode::of_pin(name).is_some() && ifindex().is_ok_and(|ifindex| ifindex == 0)
}

/// Puts the program to an interface. The error is a part of a sentence.
fn attach(there: &Interface, program: &Program, pins: Option<&Pins>) -> Result<Attached, String> {
    if there.loopback {
        return Err("nothing comes in there but from this host".to_owned());
    }
    if there.arphrd != libc::ARPHRD_ETHER {
        return Err("its frames have no Ethernet header".to_owned());
    }
    let mut refused = String::new();
    for mode in Mode::ALL {
        match Link::xdp(program, there.ifindex, mode.flag()) {
            Ok(link) => {
                let name = mode.pin(there.ifindex);
                let pin = pins
                    .filter(|pins| link.pin(&pins.path(&name)).is_ok())
                    .map(|_| name);
                return Ok(Attached {
                    ifindex: there.ifindex,
                    link,
                    mode,
                    pin,
                });
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::EBUSY | libc::EEXIST) => {
                    return Err(
                        "another XDP program is there, or at an interface above it".to_owned()
                    );
                }
                Some(libc::EINVAL) => {
                    refused = "the kernel has no links for XDP (Linux 5.9)".to_owned();
                }
                other => {
                    let errno = Errno::from_raw(other.unwrap_or(libc::EIO));
                    refused = format!("the kernel refuses the XDP program ({})", errno.desc());
                }
            },
        }
    }
    Err(refused)
}
