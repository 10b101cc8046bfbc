//! Parts of JSON documents that are read without copying where that is possible, and never beyond a limit.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Text that lies in the request body where JSON wrote it without escapes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// A list of at most `MAX` items: the limit holds while it is read, not after.
pub(crate) fn list<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_seq(ListVisitor::<T, MAX>(PhantomData))
}

/// As [`list`], for a field that may be missing.
pub(crate) fn some_list<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    list::<D, T, MAX>(deserializer).map(Some)
}

struct ListVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            if list.len() == MAX {
                return Err(A::Error::custom(format_args!("a list has more than {MAX} items")));
            }
            list.push(item);
        }
        Ok(list)
    }
}

/// The pairs of an object of at most `MAX` texts, in order.
pub(crate) fn pairs<'de, D, const MAX: usize>(
    deserializer: D,
) -> Result<Vec<(Text<'de>, Text<'de>)>, D::Error>
where
    D: Deserializer<'de>,
{
    deserializer.deserialize_map(PairsVisitor::<MAX>)
}

struct PairsVisitor<const MAX: usize>;

impl<'de, const MAX: usize> Visitor<'de> for PairsVisitor<MAX> {
    type Value = Vec<(Text<'de>, Text<'de>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of at most {MAX} texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = entries.next_entry()? {
            if pairs.len() == MAX {
                return Err(A::Error::custom(format_args!("an object has more than {MAX} fields")));
            }
            pairs.push(pair);
        }
        Ok(pairs)
    }
}

/// Tells a field that is null from one that is missing.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}
