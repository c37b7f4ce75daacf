//! Conversions between values of the domain and the forms in which records hold them.

use super::super::{
    BlobId, ByteRange, ChannelId, Digest, EntryId, Ino, MessageId, Name, PackId, Seq, Timestamp,
    XattrMap,
};

/// A form in which records hold a `D`. Reading moves strings and vectors, writing copies each once.
pub trait StoredForm<D> {
    /// Returns the stored form of `value`.
    fn of(value: &D) -> Self;
    /// Returns the value that is stored in this form.
    fn restore(self) -> D;
}

/// Values whose stored form is the value itself. Their bytes are frozen with their definition.
macro_rules! stored_as_they_are {
    ($($kind:ty),* $(,)?) => {
        $(impl StoredForm<$kind> for $kind {
            fn of(value: &$kind) -> Self {
                value.clone()
            }
            fn restore(self) -> $kind {
                self
            }
        })*
    };
}

stored_as_they_are!(
    bool, u8, u16, u32, u64, i32, i64, String, BlobId, ByteRange, Digest, EntryId, Ino, Name,
    PackId, Seq, Timestamp, XattrMap,
);

/// Ids of Telegram, which are stored as the service's bare numbers.
macro_rules! stored_as_numbers {
    ($($id:ty as $number:ty),* $(,)?) => {
        $(impl StoredForm<$id> for $number {
            fn of(value: &$id) -> Self {
                value.get()
            }
            fn restore(self) -> $id {
                <$id>::new(self)
            }
        })*
    };
}

stored_as_numbers!(ChannelId as i64, MessageId as i32);

impl<D, F: StoredForm<D>> StoredForm<Vec<D>> for Vec<F> {
    fn of(values: &Vec<D>) -> Self {
        values.iter().map(F::of).collect()
    }
    fn restore(self) -> Vec<D> {
        self.into_iter().map(F::restore).collect()
    }
}

impl<D, F: StoredForm<D>> StoredForm<Option<D>> for Option<F> {
    fn of(value: &Option<D>) -> Self {
        value.as_ref().map(F::of)
    }
    fn restore(self) -> Option<D> {
        self.map(F::restore)
    }
}

impl<D, F: StoredForm<D>> StoredForm<Box<D>> for Box<F> {
    fn of(value: &Box<D>) -> Self {
        Self::new(F::of(value))
    }
    fn restore(self) -> Box<D> {
        Box::new((*self).restore())
    }
}

impl<D, E, F: StoredForm<D>, G: StoredForm<E>> StoredForm<(D, E)> for (F, G) {
    fn of(pair: &(D, E)) -> Self {
        (F::of(&pair.0), G::of(&pair.1))
    }
    fn restore(self) -> (D, E) {
        (self.0.restore(), self.1.restore())
    }
}

/// Defines the stored form of a struct that has the same fields, in the order of their bytes.
macro_rules! stored_struct {
    ($(#[$doc:meta])* $form:ident of $domain:ident { $($field:ident: $kind:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub struct $form {
            $(pub(crate) $field: $kind),*
        }

        impl $crate::model::stored::StoredForm<$domain> for $form {
            fn of(value: &$domain) -> Self {
                Self { $($field: $crate::model::stored::StoredForm::of(&value.$field)),* }
            }
            fn restore(self) -> $domain {
                $domain { $($field: $crate::model::stored::StoredForm::restore(self.$field)),* }
            }
        }
    };
}

/// Defines the stored form of an enum without fields, in the order of its numbers.
macro_rules! stored_enum {
    ($(#[$doc:meta])* $form:ident of $domain:ident { $($variant:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $form {
            $($variant),*
        }

        impl $crate::model::stored::StoredForm<$domain> for $form {
            fn of(value: &$domain) -> Self {
                match value { $($domain::$variant => Self::$variant),* }
            }
            fn restore(self) -> $domain {
                match self { $(Self::$variant => $domain::$variant),* }
            }
        }
    };
}

pub(super) use {stored_enum, stored_struct};
