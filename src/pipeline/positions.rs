//! Where in the file each key and each value stands.

use std::collections::BTreeMap;
use std::fmt;

use saphyr_parser::{Event, Marker, Parser};

use super::error::Problem;

/// A line and a column, both from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// `line:column`.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl From<Marker> for Position {
    fn from(marker: Marker) -> Position {
        Position { line: marker.line(), column: marker.col() + 1 }
    }
}

/// The way to a value: keys and indices from the document's root.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(Vec<String>);

impl Place {
    /// The way down these keys.
    pub fn of(keys: &[&str]) -> Place {
        Place(keys.iter().map(|&key| key.to_owned()).collect())
    }

    /// From here to what stands under a key.
    pub fn key(&self, key: &str) -> Place {
        let mut place = self.clone();
        place.0.push(key.to_owned());
        place
    }

    /// From here to an element of a list.
    pub fn index(&self, index: usize) -> Place {
        self.key(&index.to_string())
    }

    /// Whether it is what a stage has under this key.
    pub fn is_of_a_stage(&self, key: &str) -> bool {
        matches!(&self.0[..], [stages, _, last] if stages == "stages" && last == key)
    }

    fn parent(&self) -> Option<Place> {
        let (_, above) = self.0.split_last()?;
        Some(Place(above.to_vec()))
    }
}

/// As messages name it: `stages.train.params`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str("pipeline.yaml") } else { f.write_str(&self.0.join(".")) }
    }
}

/// Where everything stands.
#[derive(Debug, Default)]
pub(super) struct Positions {
    keys: BTreeMap<Place, Position>,
    values: BTreeMap<Place, Position>,
    /// Keys that stand in a mapping again: the key, its position, and that of the first.
    pub twice: Vec<(String, Position, Position)>,
}

/// A mapping or list whose end has not come yet.
enum Open {
    /// With the place of the key whose value comes next.
    Mapping(Place, Option<Place>),
    /// With the index that comes next.
    List(Place, usize),
}

impl Positions {
    /// Reads a document. An error is one of YAML's syntax.
    pub fn read(text: &str) -> Result<Positions, Problem> {
        let mut positions = Positions::default();
        let mut open: Vec<Open> = Vec::new();
        let mut documents = 0;
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| {
                let position = Position::from(*error.marker());
                let line = text.lines().nth(position.line.saturating_sub(1)).unwrap_or_default();
                // `--x={inputs.x}` in a list.
                let is_brace = line.chars().nth(position.column.saturating_sub(1)) == Some('{');
                let quotes = if is_brace { "; text with braces needs quotes here" } else { "" };
                Problem { position: Some(position), text: format!("not YAML: {}{quotes}", error.info()) }
            })?;
            let position = Position::from(span.start);
            match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        let text =
                            "a second document begins here; a pipeline.yaml is one, without `---` in it";
                        return Err(Problem { position: Some(position), text: text.to_owned() });
                    }
                }
                Event::Scalar(key, ..) if matches!(open.last(), Some(Open::Mapping(_, None))) => {
                    if let Some(Open::Mapping(mapping, next)) = open.last_mut() {
                        let place = mapping.key(&key);
                        *next = Some(place.clone());
                        match positions.keys.get(&place) {
                            Some(first) => positions.twice.push((key.into_owned(), position, *first)),
                            None => drop(positions.keys.insert(place, position)),
                        }
                    }
                }
                Event::Scalar(..) | Event::Alias(_) => {
                    positions.value_starts(&mut open, position)?;
                }
                Event::MappingStart(..) => {
                    let place = positions.value_starts(&mut open, position)?;
                    open.push(Open::Mapping(place, None));
                }
                Event::SequenceStart(..) => {
                    let place = positions.value_starts(&mut open, position)?;
                    open.push(Open::List(place, 0));
                }
                Event::MappingEnd | Event::SequenceEnd => drop(open.pop()),
                _ => {}
            }
        }
        Ok(positions)
    }

    /// Notes that a value starts, and says what its place is.
    fn value_starts(&mut self, open: &mut [Open], position: Position) -> Result<Place, Problem> {
        let place = match open.last_mut() {
            None => Place::default(),
            Some(Open::List(list, next)) => {
                *next += 1;
                list.index(*next - 1)
            }
            Some(Open::Mapping(_, key)) => key
                .take()
                .ok_or_else(|| Problem { position: Some(position), text: "a key must be text".to_owned() })?,
        };
        self.values.entry(place.clone()).or_insert(position);
        Ok(place)
    }

    /// Where a key stands; what an alias brought in stands where the alias does.
    pub fn key(&self, place: &Place) -> Position {
        self.keys.get(place).copied().unwrap_or_else(|| self.value(place))
    }

    /// Where a value starts; what an alias brought in stands where the alias does.
    pub fn value(&self, place: &Place) -> Position {
        let mut place = place.clone();
        loop {
            if let Some(position) = self.values.get(&place) {
                return *position;
            }
            match place.parent() {
                Some(parent) => place = parent,
                None => return Position { line: 1, column: 1 },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: usize, column: usize) -> Position {
        Position { line, column }
    }

    #[test]
    fn keys_and_values_are_found_in_block_and_flow_style() {
        let positions = Positions::read("a:\n  b: {c: 1, d: [x, yy]}\n").unwrap();
        assert_eq!(positions.key(&Place::of(&["a", "b"])), at(2, 3));
        assert_eq!(positions.value(&Place::of(&["a", "b"])), at(2, 6));
        assert_eq!(positions.value(&Place::of(&["a", "b", "d"]).index(1)), at(2, 20));
        assert_eq!(positions.value(&Place::of(&["a"])), at(2, 3));
    }

    #[test]
    fn what_an_alias_brings_in_stands_where_the_alias_does() {
        let positions = Positions::read("a: &x {b: 1}\nc: *x\n").unwrap();
        assert_eq!(positions.key(&Place::of(&["c", "b"])), at(2, 4));
    }

    #[test]
    fn a_key_that_stands_twice_is_noted_with_both_positions() {
        let positions = Positions::read("a: 1\nb: 2\na: {c: 3}\n").unwrap();
        assert_eq!(positions.twice, [("a".to_owned(), at(3, 1), at(1, 1))]);
    }

    #[test]
    fn broken_yaml_is_an_error_with_its_position() {
        let problem = Positions::read("a: [1, 2\nb: 3\n").unwrap_err();
        assert_eq!(problem.position.map(|position| position.line), Some(2));
        assert!(problem.text.starts_with("not YAML: "));
    }

    #[test]
    fn a_list_cannot_be_a_key() {
        assert_eq!(Positions::read("[a]: 1\n").unwrap_err().text, "a key must be text");
    }
}
