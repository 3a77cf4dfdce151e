//! What a person at the screen has chosen, by keys.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Longest filter, in characters.
const FILTER_MAX: usize = 40;
/// Rows that a page scrolls.
const PAGE: usize = 10;

/// What a key asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// To go on.
    Draw,
    /// To end.
    End,
}

/// The order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// By attempts, or by time of scans.
    Count,
    /// By address.
    Name,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub colours: bool,
    pub paused: bool,
    pub order: Order,
    /// Rows must have this word.
    pub filter: String,
    /// The filter is being written.
    pub writes: bool,
    pub help: bool,
    /// First row of the scans.
    pub first: usize,
}

impl Settings {
    pub fn new(colours: bool) -> Self {
        Self {
            colours,
            paused: false,
            order: Order::Count,
            filter: String::new(),
            writes: false,
            help: false,
            first: 0,
        }
    }

    /// Takes a key.
    pub fn on_key(&mut self, key: KeyEvent) -> Asked {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if is_control => return Asked::End,
            code if self.writes => self.write(code),
            KeyCode::Char('q') => return Asked::End,
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Char('s') => {
                self.order = match self.order {
                    Order::Count => Order::Name,
                    Order::Name => Order::Count,
                }
            }
            KeyCode::Char('/') => (self.writes, self.help) = (true, false),
            KeyCode::Char('h' | '?') => self.help = !self.help,
            KeyCode::Esc if self.help => self.help = false,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Down => self.first = self.first.saturating_add(1),
            KeyCode::Up => self.first = self.first.saturating_sub(1),
            KeyCode::PageDown => self.first = self.first.saturating_add(PAGE),
            KeyCode::PageUp => self.first = self.first.saturating_sub(PAGE),
            KeyCode::Home => self.first = 0,
            _ => {}
        }
        Asked::Draw
    }

    fn write(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.writes = false,
            KeyCode::Esc => {
                self.writes = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(letter)
                if !letter.is_control() && self.filter.chars().count() < FILTER_MAX =>
            {
                self.filter.push(letter);
            }
            _ => {}
        }
        self.first = 0;
    }

    /// Whether the filter lets a row through.
    pub fn shows(&self, row: &[String]) -> bool {
        let filter = self.filter.to_lowercase();
        filter.is_empty() || row.iter().any(|cell| cell.to_lowercase().contains(&filter))
    }
}
