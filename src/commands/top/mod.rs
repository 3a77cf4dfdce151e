//! `top`: a running sensor in the terminal, asked over its status socket.

mod rates;
mod screen;
mod settings;
#[cfg(test)]
mod tests;

use super::block::exchange::ask_sensor;
use crate::error::Failure;
use crate::settings::flags::TopArgs;
use crate::time::clock::monotonic_ns;
use crate::words::printable;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::crossterm::terminal;
use rates::Looks;
use screen::Screen;
use serde_json::{Value, json};
use settings::{Asked, Settings};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

/// A screen that is printed, where standard output is no terminal.
const PRINTED: (u16, u16) = (100, 40);

/// Shows a sensor until a person ends it, or once.
///
/// # Errors
///
/// No sensor answers, or the terminal does not do what it must.
pub fn top(args: &TopArgs) -> Result<u8, Failure> {
    let pause = Duration::from_secs(args.interval);
    let is_terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
    let mut looks = Looks::default();
    looks.take(ask(&args.socket)?);
    if args.once || !is_terminal {
        std::thread::sleep(pause);
        looks.take(ask(&args.socket)?);
        let text = match args.json {
            true => format!("{}\n", looks.as_json()),
            false => printed(&looks).map_err(Failure::run)?,
        };
        return print(&text);
    }
    let mut terminal = ratatui::try_init().map_err(Failure::run)?;
    let shown = show(&mut terminal, looks, &args.socket, pause);
    ratatui::restore();
    shown
}

fn ask(socket: &Path) -> Result<Value, Failure> {
    ask_sensor(socket, &json!({ "do": "top" }))
}

/// Draws and asks, until a key ends it. A sensor that is gone for a while is asked again.
fn show(
    terminal: &mut ratatui::DefaultTerminal,
    mut looks: Looks,
    socket: &Path,
    pause: Duration,
) -> Result<u8, Failure> {
    let mut settings = Settings::new(std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty()));
    let mut asked_ns = monotonic_ns();
    loop {
        let drawn = terminal.draw(|frame| Screen::new(&looks, &settings).draw(frame));
        drawn.map_err(Failure::run)?;
        let passed_ns = u64::try_from(monotonic_ns() - asked_ns).unwrap_or(0);
        let left = pause.saturating_sub(Duration::from_nanos(passed_ns));
        if event::poll(left).map_err(Failure::run)? {
            if let Event::Key(key) = event::read().map_err(Failure::run)?
                && key.kind != KeyEventKind::Release
                && settings.on_key(key) == Asked::End
            {
                return Ok(0);
            }
            continue;
        }
        asked_ns = monotonic_ns();
        if !settings.paused {
            match ask(socket) {
                Ok(answer) => looks.take(answer),
                Err(failure) => looks.lose(&failure.to_string()),
            }
        }
    }
}

/// One screen as text.
fn printed(looks: &Looks) -> io::Result<String> {
    let size = terminal::size().unwrap_or((0, 0));
    let (width, height) = match io::stdout().is_terminal() && size.0 > 0 {
        true => size,
        false => PRINTED,
    };
    let settings = Settings::new(false);
    let mut terminal = match Terminal::new(TestBackend::new(width, height)) {
        Ok(terminal) => terminal,
        Err(never) => match never {},
    };
    let drawn = terminal.draw(|frame| Screen::new(looks, &settings).for_print().draw(frame));
    match drawn {
        Ok(_) => {}
        Err(never) => match never {},
    }
    let buffer = terminal.backend().buffer();
    let row = |y| -> String {
        let cells = (0..width).map(|x| buffer[(x, y)].symbol());
        cells.collect::<String>().trim_end().to_owned() + "\n"
    };
    let text: String = (0..height).map(row).collect();
    Ok(text.trim_end().to_owned() + "\n")
}

/// Prints to standard output; who closes it is no error.
fn print(text: &str) -> Result<u8, Failure> {
    match io::stdout().lock().write_all(printable(text).as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::run(error)),
        _ => Ok(0),
    }
}
