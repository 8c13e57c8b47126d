//! Separates a model's thoughts from its answer, where the server sends both as one text.
//!
//! DeepSeek-R1, Qwen3 and the models derived from them write `<think>thoughts</think>answer`. Ollama moves the thoughts
//! to a field of their own only if it knows the model's template and thinking is switched on. Some templates write the
//! opening tag into the prompt, so the model's text has the closing tag alone.

use std::mem;

const OPENING: &str = "<think>";
const CLOSING: &str = "</think>";

/// Removes thoughts from a text that comes in chunks. A chunk may end anywhere, also inside a tag.
#[derive(Debug, Default)]
pub(super) struct Thoughts {
    /// A thought has begun and not ended. One that never ends goes on to the end of the text.
    is_open: bool,
    /// The end of the text so far, if a tag may begin there: seven bytes at most.
    held: String,
}

/// The part of a text that is not thought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Spoken {
    pub(super) words: String,
    /// A thought ended that had never begun, so the text before `words` was a thought, too.
    pub(super) all_before_was_thought: bool,
}

impl Thoughts {
    /// Returns the words of the next chunk, except a tag's possible beginning at its end.
    pub(super) fn remove(&mut self, chunk: &str) -> Spoken {
        let text = mem::take(&mut self.held) + chunk;
        let mut rest = text.as_str();
        let mut spoken = Spoken::default();
        while let Some((at, tag)) = self.tags().iter().filter_map(|tag| Some((rest.find(tag)?, *tag))).min() {
            self.take(&rest[..at], &mut spoken);
            if tag == CLOSING && !self.is_open {
                spoken = Spoken { words: String::new(), all_before_was_thought: true };
            }
            self.is_open = tag == OPENING;
            rest = &rest[at + tag.len()..];
        }
        let last = rest.rfind('<').unwrap_or(rest.len());
        let may_be_tag = self.tags().iter().any(|tag| tag.starts_with(&rest[last..]));
        let end = if may_be_tag { last } else { rest.len() };
        self.take(&rest[..end], &mut spoken);
        rest[end..].clone_into(&mut self.held);
        spoken
    }

    /// Returns the last words, when the text has ended: a tag that was only begun is none.
    pub(super) fn finish(&mut self) -> String {
        let held = mem::take(&mut self.held);
        if self.is_open { String::new() } else { held }
    }

    /// The tags that mean something here: inside a thought, an opening tag does not.
    const fn tags(&self) -> &'static [&'static str] {
        if self.is_open { &[CLOSING] } else { &[OPENING, CLOSING] }
    }

    fn take(&self, words: &str, spoken: &mut Spoken) {
        if !self.is_open {
            spoken.words.push_str(words);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    /// The answer in a text, read as a whole: each part up to a closing tag, and the last one, ends at its opening tag.
    fn answer_in(text: &str) -> String {
        let (closed, last) = text.rsplit_once("</think>").map_or((None, text), |(a, b)| (Some(a), b));
        let mut answer = String::new();
        for part in closed.into_iter().flat_map(|closed| closed.split("</think>")) {
            match part.split_once("<think>") {
                Some((words, _)) => answer.push_str(words),
                None => answer.clear(),
            }
        }
        answer + last.split("<think>").next().unwrap()
    }

    fn answer_of<'a>(chunks: impl IntoIterator<Item = &'a str>) -> String {
        let (mut thoughts, mut answer) = (Thoughts::default(), String::new());
        for chunk in chunks {
            let spoken = thoughts.remove(chunk);
            if spoken.all_before_was_thought {
                answer.clear();
            }
            answer.push_str(&spoken.words);
            assert!(thoughts.held.len() < CLOSING.len(), "{:?}", thoughts.held);
        }
        answer + &thoughts.finish()
    }

    #[test]
    fn answer_begins_after_the_thoughts() {
        for (text, answer) in [
            ("Walk.", "Walk."),
            ("<think>Hm.</think>Walk.", "Walk."),
            ("<think></think>\n\nWalk.", "\n\nWalk."),
            ("<think>Hm, <think> or </thin> </ think>.</think>Walk.", "Walk."),
            ("<think>never closed", ""),
            ("Walk.<think>never closed", "Walk."),
            ("Walk, <think>hm</think>daily.", "Walk, daily."),
            ("never opened</think>Walk.", "Walk."),
            ("never opened</think><think>Hm.</think>Walk.", "Walk."),
            ("<think>a<think>b</think>c</think>Walk.", "Walk."),
            ("Is 3 < 4? <thin", "Is 3 < 4? <thin"),
            ("<THINK>no tag of any model</THINK>", "<THINK>no tag of any model</THINK>"),
        ] {
            assert_eq!(answer_in(text), answer, "{text}");
            for (first, _) in text.char_indices() {
                for (second, _) in text[first..].char_indices() {
                    let chunks = [&text[..first], &text[first..][..second], &text[first + second..]];
                    assert_eq!(answer_of(chunks), answer, "{chunks:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn answer_does_not_depend_on_the_chunks(
            parts in vec(select(vec![
                "<think>", "</think>", "<think", "</think", "<", "</", "thi", "nk>", ">", "a", " ", "\n", "é", "👩‍⚕️",
            ]), 0..24),
            cuts in vec(any::<bool>(), 256),
        ) {
            let text = parts.concat();
            let mut chunks = vec![String::new()];
            for (character, cut) in text.chars().zip(cuts.into_iter().cycle()) {
                if cut {
                    chunks.push(String::new());
                }
                chunks.last_mut().unwrap().push(character);
            }
            prop_assert_eq!(answer_of(chunks.iter().map(String::as_str)), answer_in(&text));
        }
    }
}
