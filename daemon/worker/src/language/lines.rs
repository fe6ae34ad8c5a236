//! Breaks one cue's atoms into lines: few, even, rather longer below, at borders of clauses. Knows no times.

use super::atoms::{Atom, Border};

/// The lines of a cue, none wider than `width` unless a single atom is.
pub fn lines(atoms: &[Atom], width: usize) -> Vec<String> {
    let prefix = prefix_columns(atoms);
    let mut starts = vec![0];
    let count = greedy_count(atoms, width);
    if count > 1 {
        starts = balanced(atoms, &prefix, width, count);
    }
    starts
        .iter()
        .enumerate()
        .map(|(at, &from)| joined(&atoms[from..starts.get(at + 1).copied().unwrap_or(atoms.len())]))
        .collect()
}

/// The atoms' text in one line.
pub fn joined(atoms: &[Atom]) -> String {
    let mut text = String::new();
    for (at, atom) in atoms.iter().enumerate() {
        if at > 0 && atom.space_before {
            text.push(' ');
        }
        text.push_str(&atom.text);
    }
    text
}

/// Fills lines of one width word by word; answers how many there are.
#[derive(Debug, Clone, Copy)]
pub struct Filler {
    width: usize,
    column: usize,
    pub lines: usize,
}

impl Filler {
    pub fn new(width: usize) -> Self {
        Filler { width, column: 0, lines: 0 }
    }

    pub fn add(&mut self, atom: &Atom) {
        let together = self.column + usize::from(atom.space_before) + atom.columns;
        if self.lines > 0 && together <= self.width {
            self.column = together;
        } else {
            self.column = atom.columns;
            self.lines += 1;
            if atom.columns > self.width {
                // It fits no line of this width.
                self.lines = usize::MAX / 2;
            }
        }
    }
}

fn greedy_count(atoms: &[Atom], width: usize) -> usize {
    let mut filler = Filler::new(width);
    atoms.iter().for_each(|atom| filler.add(atom));
    // A single cluster wider than a line has a line of its own.
    if filler.lines > atoms.len() { atoms.len() } else { filler.lines }
}

/// Columns of all atoms before each, with their spaces.
fn prefix_columns(atoms: &[Atom]) -> Vec<usize> {
    let mut sum = 0;
    let mut prefix = vec![0];
    for atom in atoms {
        sum += usize::from(atom.space_before) + atom.columns;
        prefix.push(sum);
    }
    prefix
}

fn width_of(atoms: &[Atom], prefix: &[usize], from: usize, to: usize) -> usize {
    prefix[to] - prefix[from] - usize::from(atoms[from].space_before)
}

/// Where each of `count` lines begins, at the least cost.
fn balanced(atoms: &[Atom], prefix: &[usize], width: usize, count: usize) -> Vec<usize> {
    let total = width_of(atoms, prefix, 0, atoms.len());
    let ideal = total as i64 / count as i64;
    // best[line][to]: cost of the first `line` lines holding atoms before `to`, and where the last of them begins.
    let mut best: Vec<Vec<Option<(i64, usize)>>> = vec![vec![None; atoms.len() + 1]; count + 1];
    best[0][0] = Some((0, 0));
    for line in 1..=count {
        for to in line..=atoms.len() {
            for from in (line - 1..to).rev() {
                let columns = width_of(atoms, prefix, from, to);
                if columns > width && to - from > 1 {
                    break;
                }
                let Some((before, _)) = best[line - 1][from] else { continue };
                let last = line == count;
                let off = columns as i64 - ideal;
                // A top line longer than the one below weighs more.
                let uneven = off * off * if off > 0 && !last { 3 } else { 2 };
                let border = if to == atoms.len() { 0 } else { border_cost(atoms[to - 1].after) };
                let cost = before + uneven + border;
                if best[line][to].is_none_or(|(known, _)| cost < known) {
                    best[line][to] = Some((cost, from));
                }
            }
        }
    }
    let mut starts = Vec::with_capacity(count);
    let mut to = atoms.len();
    for line in (1..=count).rev() {
        let from = best[line][to].map_or(line - 1, |(_, from)| from);
        starts.push(from);
        to = from;
    }
    starts.reverse();
    starts
}

/// In squared columns: how far from even a better border may draw the break.
fn border_cost(border: Border) -> i64 {
    match border {
        Border::Sentence => 0,
        Border::Clause => 20,
        Border::Segment => 50,
        Border::Phrase => 60,
        Border::Word => 130,
        Border::Close => 220,
        Border::Inside => 2_000,
    }
}
