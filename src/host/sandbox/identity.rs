//! The user as whom a process goes on.

use super::capabilities::{has, use_only};
use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;
use nix::unistd::{
    AccessFlags, Gid, Uid, User, eaccess, fchown, getegid, geteuid, getgrouplist, getgroups,
    setegid, seteuid, setgroups, setresgid, setresuid,
};
use std::ffi::CString;
use std::os::fd::AsFd;
use std::path::Path;

/// The user of a sensor that starts as root, where it exists.
pub const DEFAULT_USER: &str = "synledger";

/// What lets root pass by owner and mode of files.
const OVERRIDES: [Capability; 3] = [
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_DAC_READ_SEARCH,
    Capability::CAP_FOWNER,
];

/// As whom a process goes on.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Another user than that of the start.
    account: Option<Account>,
    /// Without CAP_DAC_OVERRIDE the outputs cannot be opened again.
    pub(super) overrides: bool,
    /// Why it is not `synledger`, where that exists.
    pub(super) note: Option<String>,
}

#[derive(Clone, Debug)]
struct Account {
    name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl Identity {
    /// The user of this name (`--user`), or without one `synledger` if this is root and it exists and can open what
    /// `opens` opens, else the present one. `opens` is called as each that comes into question.
    ///
    /// Call it before other threads start.
    ///
    /// # Errors
    ///
    /// One sentence: the named user does not exist, cannot open it, or cannot be taken.
    pub fn choose(
        name: Option<&str>,
        mut opens: impl FnMut() -> Result<(), String>,
    ) -> Result<Self, String> {
        let mut note = None;
        match (name, Account::find(name.unwrap_or(DEFAULT_USER))) {
            (Some(name), None) => return Err(format!("--user {name}: there is no such user")),
            (Some(_), Some(account)) if account.uid == geteuid() => {}
            (Some(name), Some(_)) if !may_change() => {
                return Err(format!(
                    "--user {name}: only root may take another user: start as root, or as {name} with CAP_NET_RAW"
                ));
            }
            (Some(name), Some(account)) => {
                let tried = account.while_taken(&mut opens);
                tried.map_err(|why| {
                    format!("--user {name}: {why}; give it to {name} (chown), or name another user")
                })?;
                return Ok(Self::of(account));
            }
            (None, Some(account)) if geteuid().is_root() && may_change() => {
                match account.while_taken(&mut opens) {
                    Ok(()) => return Ok(Self::of(account)),
                    Err(why) => {
                        let gift =
                            format!("give it to {DEFAULT_USER} (chown) and this goes on as it");
                        note = Some(format!("hint: not as user {DEFAULT_USER}: {why}; {gift}"));
                    }
                }
            }
            (None, _) => {}
        }
        let overrides = has(Capability::CAP_DAC_OVERRIDE) && without_overrides(opens)?.is_err();
        Ok(Self {
            account: None,
            overrides,
            note,
        })
    }

    fn of(account: Account) -> Self {
        Self {
            account: Some(account),
            overrides: false,
            note: None,
        }
    }

    /// Gives a file or folder to the user as whom this goes on, where that is another one than now: so that user can open
    /// it later, too.
    ///
    /// # Errors
    ///
    /// Those of fchown(2).
    pub fn give(&self, file: impl AsFd) -> nix::Result<()> {
        let Some(account) = &self.account else {
            return Ok(());
        };
        fchown(file, Some(account.uid), Some(account.gid))
    }

    /// Whether this goes on as root.
    pub fn stays_root(&self) -> bool {
        self.account.is_none() && geteuid().is_root()
    }

    /// The user and its group, if it is not that of the start.
    pub fn other(&self) -> Option<(Uid, Gid)> {
        self.account
            .as_ref()
            .map(|account| (account.uid, account.gid))
    }

    /// Whether this user may make files in a folder; root may.
    pub fn may_make_files_in(&self, folder: &Path) -> bool {
        let tried = || eaccess(folder, AccessFlags::W_OK).map_err(|errno| errno.to_string());
        match &self.account {
            _ if self.stays_root() => true,
            Some(account) => account.while_taken(tried).is_ok(),
            None => tried().is_ok(),
        }
    }

    /// Takes the user for good; capabilities stay permitted.
    pub(super) fn assume(&self) -> Result<(), String> {
        let Some(account) = &self.account else {
            return Ok(());
        };
        let about = |errno| format!("user {}: {errno}", account.name);
        let (uid, gid) = (account.uid, account.gid);
        setgroups(&account.groups).map_err(about)?;
        setresgid(gid, gid, gid).map_err(about)?;
        prctl::set_keepcaps(true).map_err(about)?;
        setresuid(uid, uid, uid).map_err(about)?;
        prctl::set_keepcaps(false).map_err(about)?;
        // The change has taken them from the effective set.
        let permitted = caps::read(None, CapSet::Permitted).map_err(|error| error.to_string())?;
        let all: Vec<Capability> = permitted.into_iter().collect();
        use_only(&all)
    }

    pub(super) fn describe(&self) -> String {
        match (&self.account, geteuid()) {
            (Some(account), _) => format!("user {}", account.name),
            (None, uid) if uid.is_root() => "user root".to_owned(),
            (None, uid) => format!("user {uid}"),
        }
    }
}

/// Whether this process may take other users.
fn may_change() -> bool {
    has(Capability::CAP_SETUID) && has(Capability::CAP_SETGID)
}

impl Account {
    fn find(name: &str) -> Option<Self> {
        let user = User::from_name(name).ok()??;
        let groups = CString::new(name).ok();
        let groups = groups.and_then(|name| getgrouplist(&name, user.gid).ok());
        Some(Self {
            name: user.name,
            uid: user.uid,
            gid: user.gid,
            groups: groups.unwrap_or_else(|| vec![user.gid]),
        })
    }

    /// Calls `work` as this user, then takes the old one again.
    fn while_taken(&self, work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
        let (uid, gid) = (geteuid(), getegid());
        let about = |errno| format!("it cannot be taken: {errno}");
        let groups = getgroups().map_err(about)?;
        let taken = setgroups(&self.groups)
            .and_then(|()| setegid(self.gid))
            .and_then(|()| seteuid(self.uid));
        let done = taken.map_err(about).and_then(|()| work());
        let back = seteuid(uid)
            .and_then(|()| setegid(gid))
            .and_then(|()| setgroups(&groups));
        back.expect("the saved user is still this process's");
        done
    }
}

/// Calls `work` without [`OVERRIDES`]; the outer error is the kernel's.
fn without_overrides(
    work: impl FnOnce() -> Result<(), String>,
) -> Result<Result<(), String>, String> {
    let before = caps::read(None, CapSet::Effective).map_err(|error| error.to_string())?;
    let others = before.iter().filter(|one| !OVERRIDES.contains(one));
    let others: CapsHashSet = others.copied().collect();
    let set = |all| caps::set(None, CapSet::Effective, all).map_err(|error| error.to_string());
    set(&others)?;
    let done = work();
    set(&before)?;
    Ok(done)
}
