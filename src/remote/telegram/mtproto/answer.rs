//! Answers of methods, decoded.
//!
//! Some types of the service contain themselves: a text in italics inside of one in bold, a page inside of a
//! page. grammers decodes them by recursion, and an answer that nests them deeply would use up the stack,
//! which ends the whole program. Answers that could do so are decoded on a stack that is large enough.

use std::thread;

use grammers_tl_types::{Deserializable, Identifiable, types};

use super::call_error::CallError;

/// Values that can contain their own kind, up to which any stack is large enough.
const NESTED_HERE: usize = 16;
/// Most of them in an answer that is handed on, since whoever drops it needs a stack, too.
const NESTED_KEPT: usize = 512;
/// Most of them in any answer: some long web pages within messages.
const MAX_NESTED: usize = 8 * 1024;
/// Bytes of stack for each of them, with room to spare: a debug build takes the most. Memory is taken only as
/// far as the stack is used.
const STACK_BYTES: usize = 32 * 1024;

/// Defines the numbers of constructors.
macro_rules! constructors {
    ($($name:ident)*) => { &[$(types::$name::CONSTRUCTOR_ID),*] };
}

/// Constructors with a field of a type that can contain the constructor's own type. On any way down from a
/// value to another one of its type stands at least one of them.
const NESTING: &[u32] = constructors!(
    InputPeerUserFromMessage InputPeerChannelFromMessage
    InputMediaInvoice InputMediaPoll InputMediaPaidMedia InputPollAnswer
    MessageMediaWebPage MessageMediaInvoice MessageMediaPoll MessageMediaStory MessageMediaPaidMedia
    MessageExtendedMedia WebPage WebPageAttributeStory StoryItem Poll PollAnswer PollResults
    TextBold TextItalic TextUnderline TextStrike TextFixed TextUrl TextEmail TextConcat TextSubscript
    TextSuperscript TextMarked TextPhone TextAnchor TextSpoiler TextMention TextHashtag TextBotCommand
    TextCashtag TextAutoUrl TextAutoEmail TextAutoPhone TextBankCard TextMentionName TextDate TextDiff
    TextButton TextTonAddress
    PageBlockList PageBlockCover PageBlockEmbedPost PageBlockCollage PageBlockSlideshow
    PageBlockOrderedList PageBlockDetails PageBlockBlockquoteBlocks PageListItemBlocks
    PageListOrderedItemBlocks
);

/// Decodes the answer of a method.
///
/// # Errors
/// [`CallError::Unexpected`] when the bytes are no such answer, or nest too deeply.
pub fn decode<T: Deserializable + Send>(answer: &[u8]) -> Result<T, CallError> {
    match nested(answer) {
        0..=NESTED_KEPT => decode_with(answer, |decoded| decoded),
        _ => Err(too_deep()),
    }
}

/// Decodes the answer of a method that may hold much, and returns what `read` takes from it.
///
/// # Errors
/// See [`decode`].
pub fn decode_with<T: Deserializable, U: Send>(
    answer: &[u8],
    read: impl FnOnce(T) -> U + Send,
) -> Result<U, CallError> {
    let decoding = || T::from_bytes(answer).map(read).map_err(unexpected);
    match nested(answer) {
        0..=NESTED_HERE => decoding(),
        count @ ..=MAX_NESTED => thread::scope(|scope| {
            let own = thread::Builder::new().stack_size((count + NESTED_HERE) * STACK_BYTES);
            let running = own.spawn_scoped(scope, decoding).map_err(unexpected)?;
            let failed = |_| CallError::Unexpected("an answer cannot be decoded".into());
            running.join().map_err(failed)?
        }),
        _ => Err(too_deep()),
    }
}

fn too_deep() -> CallError {
    CallError::Unexpected("an answer nests too deeply".into())
}

fn unexpected(error: impl std::fmt::Display) -> CallError {
    CallError::Unexpected(error.to_string())
}

/// Returns the number of values in an answer that could contain their own kind, or more. All values
/// begin at multiples of four bytes.
fn nested(answer: &[u8]) -> usize {
    let (words, _) = answer.as_chunks::<4>();
    let is_nesting = |word: &&[u8; 4]| NESTING.contains(&u32::from_le_bytes(**word));
    words.iter().filter(is_nesting).count()
}

#[cfg(test)]
mod tests {
    use grammers_tl_types::{Serializable, enums};

    use super::*;

    /// Returns a text of this depth.
    fn text(depth: usize) -> Vec<u8> {
        let mut bytes = types::TextBold::CONSTRUCTOR_ID.to_le_bytes().repeat(depth);
        enums::RichText::TextEmpty.serialize(&mut bytes);
        bytes
    }

    /// Returns a page of this depth.
    fn page(depth: usize) -> Vec<u8> {
        let mut bytes = types::PageBlockCover::CONSTRUCTOR_ID
            .to_le_bytes()
            .repeat(depth);
        enums::PageBlock::Unsupported.serialize(&mut bytes);
        bytes
    }

    /// Does something on a stack as large as those of the runtime's threads.
    fn on_a_usual_stack(work: impl FnOnce() + Send + 'static) {
        let own = thread::Builder::new().stack_size(2 << 20);
        own.spawn(work).unwrap().join().unwrap();
    }

    #[test]
    fn an_answer_nests_as_deeply_as_it_may_and_uses_no_more_stack() {
        on_a_usual_stack(|| {
            for depth in [0, 1, NESTED_HERE, NESTED_HERE + 1, NESTED_KEPT] {
                decode::<enums::RichText>(&text(depth)).unwrap();
                decode::<enums::PageBlock>(&page(depth)).unwrap();
            }
            for depth in [NESTED_KEPT + 1, MAX_NESTED] {
                assert!(decode::<enums::RichText>(&text(depth)).is_err());
                decode_with::<enums::RichText, _>(&text(depth), drop).unwrap();
                decode_with::<enums::PageBlock, _>(&page(depth), drop).unwrap();
            }
            for depth in [MAX_NESTED + 1, 250_000] {
                assert!(decode_with::<enums::RichText, _>(&text(depth), drop).is_err());
                assert!(decode_with::<enums::PageBlock, _>(&page(depth), drop).is_err());
            }
        });
    }
}
