//! An array of a file: its elements, read a piece at a time, whatever their type there.

use std::io::{Cursor, Read};

use anyhow::{Context, Result, ensure};
use half::{bf16, f16};

/// Elements that are read at once.
const PIECE: usize = 1 << 16;

/// The type of an element in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "their names say how many bits of what they are")]
pub enum Element {
    F16,
    Bf16,
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
}

impl Element {
    /// In bytes.
    fn size(self) -> usize {
        match self {
            Element::I8 | Element::U8 => 1,
            Element::F16 | Element::Bf16 | Element::I16 | Element::U16 => 2,
            Element::F32 | Element::I32 | Element::U32 => 4,
            Element::F64 | Element::I64 => 8,
        }
    }

    fn is_whole(self) -> bool {
        !matches!(self, Element::F16 | Element::Bf16 | Element::F32 | Element::F64)
    }

    /// The number that little-endian bytes stand for; a whole one beyond 2^53 is rounded.
    fn value(self, bytes: &[u8]) -> f64 {
        match self {
            Element::F16 => f16::from_le_bytes(exactly(bytes)).into(),
            Element::Bf16 => bf16::from_le_bytes(exactly(bytes)).into(),
            Element::F32 => f32::from_le_bytes(exactly(bytes)).into(),
            Element::F64 => f64::from_le_bytes(exactly(bytes)),
            Element::I8 => i8::from_le_bytes(exactly(bytes)).into(),
            Element::I16 => i16::from_le_bytes(exactly(bytes)).into(),
            Element::I32 => i32::from_le_bytes(exactly(bytes)).into(),
            Element::I64 => i64::from_le_bytes(exactly(bytes)) as f64,
            Element::U8 => u8::from_le_bytes(exactly(bytes)).into(),
            Element::U16 => u16::from_le_bytes(exactly(bytes)).into(),
            Element::U32 => u32::from_le_bytes(exactly(bytes)).into(),
        }
    }
}

/// The bytes of one element.
fn exactly<const SIZE: usize>(bytes: &[u8]) -> [u8; SIZE] {
    bytes.try_into().expect("an element has as many bytes as its type")
}

/// An array of which nothing has been read but its shape.
pub struct Array<'a> {
    /// Lengths of the axes, outermost first.
    pub shape: Vec<usize>,
    element: Element,
    is_big_endian: bool,
    /// The elements, row-major.
    source: Box<dyn Read + 'a>,
}

impl<'a> Array<'a> {
    /// An array of these elements, row-major and little-endian.
    pub fn new(shape: Vec<usize>, element: Element, source: impl Read + 'a) -> Array<'a> {
        Array { shape, element, is_big_endian: false, source: Box::new(source) }
    }

    /// The same, of elements that are big-endian.
    pub fn big_endian(self) -> Array<'a> {
        Array { is_big_endian: true, ..self }
    }

    /// The same, of elements whose first axis changes fastest; all of them are read.
    ///
    /// # Errors
    /// When there are not as many as the shape says.
    pub fn column_major(mut self) -> Result<Array<'a>> {
        let (size, count) = (self.element.size(), self.count()?);
        let mut bytes = Vec::new();
        self.source.read_to_end(&mut bytes)?;
        ensure!(
            bytes.len() / size == count,
            "has {} elements, for the shape {:?}",
            bytes.len() / size,
            self.shape
        );
        let elements: Vec<&[u8]> = bytes.chunks_exact(size).collect();
        let ordered = row_major(&self.shape, &elements).concat();
        Ok(Array { source: Box::new(Cursor::new(ordered)), ..self })
    }

    /// The next elements as f32, those of 64 bits rounded.
    ///
    /// # Errors
    /// When they are whole numbers, which are no probabilities or logits, or cannot be read.
    pub fn f32s(&mut self, count: usize) -> Result<Vec<f32>> {
        ensure!(!self.element.is_whole(), "has whole numbers; floating point numbers are wanted");
        self.next(count, |value| value as f32)
    }

    /// All elements as f64.
    ///
    /// # Errors
    /// When they cannot be read, or are not as many as the shape says.
    pub fn into_f64s(mut self) -> Result<Vec<f64>> {
        let values = self.next(self.count()?, |value| value)?;
        self.end()?;
        Ok(values)
    }

    /// All elements as whole numbers.
    ///
    /// # Errors
    /// As [`Array::into_f64s`], and when one is not whole; names its place.
    pub fn into_i64s(self) -> Result<Vec<i64>> {
        let whole = |(place, value): (usize, f64)| {
            ensure!(value.fract() == 0.0, "value {place} is {value}, which is not a whole number");
            Ok(value as i64)
        };
        self.into_f64s()?.into_iter().enumerate().map(whole).collect()
    }

    /// Makes sure that there is nothing left; an archive is checked as it ends.
    ///
    /// # Errors
    /// When there is more, or what was read is not what was written.
    pub fn end(mut self) -> Result<()> {
        let more = self.source.read(&mut [0])?;
        ensure!(more == 0, "has more elements than its shape {:?} says", self.shape);
        Ok(())
    }

    fn count(&self) -> Result<usize> {
        let count = self.shape.iter().try_fold(1_usize, |count, &length| count.checked_mul(length));
        count.with_context(|| format!("has the shape {:?}, which is too large", self.shape))
    }

    fn next<T>(&mut self, count: usize, of: impl Fn(f64) -> T) -> Result<Vec<T>> {
        let size = self.element.size();
        let mut bytes = vec![0; size * count.min(PIECE)];
        // It grows with what is read: a shape may promise anything.
        let mut values = Vec::new();
        while values.len() < count {
            let piece = &mut bytes[..size * PIECE.min(count - values.len())];
            self.source.read_exact(piece).context("ends before its last element")?;
            if self.is_big_endian {
                piece.chunks_exact_mut(size).for_each(<[u8]>::reverse);
            }
            values.extend(piece.chunks_exact(size).map(|bytes| of(self.element.value(bytes))));
        }
        Ok(values)
    }
}

/// Elements whose first axis changes fastest, with the last one changing fastest.
fn row_major<T: Copy>(shape: &[usize], values: &[T]) -> Vec<T> {
    let mut at = vec![0; shape.len()];
    let mut ordered = Vec::with_capacity(values.len());
    for _ in values {
        let place = at.iter().zip(shape).rev().fold(0, |place, (index, length)| place * length + index);
        ordered.push(values[place]);
        for (index, length) in at.iter_mut().zip(shape).rev() {
            *index += 1;
            if *index < *length {
                break;
            }
            *index = 0;
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(shape: &[usize], element: Element, bytes: &[u8]) -> Array<'static> {
        Array::new(shape.to_vec(), element, Cursor::new(bytes.to_vec()))
    }

    #[test]
    fn elements_of_all_widths_are_read() {
        let all =
            |element, bytes: &[u8]| array(&[bytes.len() / element_size(element)], element, bytes).into_f64s();
        fn element_size(element: Element) -> usize {
            element.size()
        }
        let halves = [0.5, 2.0].map(|value| f16::from_f32(value).to_le_bytes()).concat();
        assert_eq!(all(Element::F16, &halves).unwrap(), [0.5, 2.0]);
        let halves = [1.5, -2.0].map(|value| bf16::from_f32(value).to_le_bytes()).concat();
        assert_eq!(all(Element::Bf16, &halves).unwrap(), [1.5, -2.0]);
        assert_eq!(all(Element::F32, &0.1_f32.to_le_bytes()).unwrap(), [f64::from(0.1_f32)]);
        assert_eq!(all(Element::F64, &0.1_f64.to_le_bytes()).unwrap(), [0.1]);
        assert_eq!(all(Element::I8, &[255, 7]).unwrap(), [-1.0, 7.0]);
        assert_eq!(all(Element::U8, &[200]).unwrap(), [200.0]);
        assert_eq!(all(Element::I16, &(-300_i16).to_le_bytes()).unwrap(), [-300.0]);
        assert_eq!(all(Element::U16, &60_000_u16.to_le_bytes()).unwrap(), [60_000.0]);
        assert_eq!(all(Element::I32, &(-70_000_i32).to_le_bytes()).unwrap(), [-70_000.0]);
        assert_eq!(all(Element::U32, &4_000_000_000_u32.to_le_bytes()).unwrap(), [4e9]);
        assert_eq!(all(Element::I64, &(-5_i64).to_le_bytes()).unwrap(), [-5.0]);
        let big = array(&[1], Element::I32, &70_000_i32.to_be_bytes()).big_endian();
        assert_eq!(big.into_i64s().unwrap(), [70_000]);
    }

    #[test]
    fn a_transposed_array_is_read_as_numpy_shows_it() {
        // numpy.arange(6).reshape(1, 3, 2).T has the shape [2, 3, 1] and elements in the order of memory.
        let transposed = array(&[2, 3, 1], Element::U8, &[0, 1, 2, 3, 4, 5]).column_major().unwrap();
        assert_eq!(transposed.into_i64s().unwrap(), [0, 2, 4, 1, 3, 5]);
    }

    #[test]
    fn elements_come_a_piece_at_a_time() {
        let count = 2 * PIECE + 3;
        let bytes: Vec<u8> = (0..count).flat_map(|place| (place as f32).to_le_bytes()).collect();
        let mut all = array(&[count], Element::F32, &bytes);
        assert_eq!(all.f32s(2).unwrap(), [0.0, 1.0]);
        let rest = all.f32s(count - 2).unwrap();
        assert!(rest.iter().enumerate().all(|(place, value)| *value == (place + 2) as f32));
        all.end().unwrap();
    }

    #[test]
    fn too_few_and_too_many_elements_are_errors() {
        let said = |array: Array| format!("{:#}", array.into_f64s().unwrap_err());
        assert!(said(array(&[3], Element::U8, &[1, 2])).starts_with("ends before its last element"));
        assert_eq!(said(array(&[1], Element::U8, &[1, 2])), "has more elements than its shape [1] says");
        assert!(said(array(&[usize::MAX], Element::U8, &[1])).starts_with("ends before its last element"));
        assert!(said(array(&[usize::MAX, 2], Element::U8, &[1])).ends_with("which is too large"));
        assert!(array(&[2, 2], Element::U8, &[1]).column_major().is_err());
    }

    #[test]
    fn whole_numbers_may_be_written_as_floats() {
        let floats = |values: [f64; 2]| array(&[2], Element::F64, &values.map(f64::to_le_bytes).concat());
        assert_eq!(floats([0.0, 50.0]).into_i64s().unwrap(), [0, 50]);
        let message = floats([0.0, 0.5]).into_i64s().unwrap_err().to_string();
        assert_eq!(message, "value 1 is 0.5, which is not a whole number");
        assert!(array(&[1], Element::I64, &[0; 8]).f32s(1).is_err());
    }
}
