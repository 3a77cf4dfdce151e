//! Shell completion of `-i`: the host's interfaces, `auto` and `any`.
//!
//! clap's completions offer files for every value. Here the name behind the last comma of a list is completed.

use clap_complete::Shell;

const BASH: &str = r#"_synledger_interfaces() {
    local given="${1%"${1##*,}"}" names
    names="$(cd /sys/class/net 2>/dev/null && printf '%s\n' */)"
    COMPREPLY=($(compgen -P "${given}" -W "auto any ${names//\//}" -- "${1##*,}"))
}

"#;

const ZSH: &str = r#"_synledger_interfaces() {
    compset -P '*,'
    compadd -S '' -- auto any /sys/class/net/*(N-/:t)
}

_synledger() {"#;

const FISH: &str = r#"function __synledger_interfaces
    set -l given (string match -r '^.*,' -- (commandline -ct))
    for name in auto any (string replace -r '.*/' '' -- /sys/class/net/*)
        if contains $name auto any; or test -d /sys/class/net/$name
            echo "$given$name"
        end
    end
end

"#;

/// The generated completion, changed to offer interfaces for `-i` and `--interface`.
pub fn with_interfaces(shell: Shell, generated: &str) -> String {
    match shell {
        Shell::Bash => {
            let files = "                    COMPREPLY=($(compgen -f \"${cur}\"))";
            let names = "                    _synledger_interfaces \"${cur}\"";
            let behind = |flag: &str, text: String| {
                let case = format!("                {flag})\n");
                text.replace(&format!("{case}{files}"), &format!("{case}{names}"))
            };
            let text = behind("--interface", behind("-i", generated.to_owned()));
            format!("{BASH}{text}")
        }
        Shell::Zsh => {
            let named =
                |line: &str| line.starts_with("'*-i+[") || line.starts_with("'*--interface=[");
            let offer = |line: &str| match named(line) {
                true => line.replace(":LIST:_default'", ":LIST:_synledger_interfaces'"),
                false => line.to_owned(),
            };
            let lines: Vec<String> = generated.split('\n').map(offer).collect();
            lines.join("\n").replacen("_synledger() {", ZSH, 1)
        }
        Shell::Fish => {
            let offer = |line: &str| match line.contains(" -s i -l interface ") {
                true => format!("{line} -f -a '(__synledger_interfaces)'"),
                false => line.to_owned(),
            };
            let lines: Vec<String> = generated.split('\n').map(offer).collect();
            format!("{FISH}{}", lines.join("\n"))
        }
        _ => generated.to_owned(),
    }
}
