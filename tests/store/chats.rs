//! Exchanges with the assistant: none overwrites another, old rows are read in every form they may have.

use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::join_all;
use persistence::{Dynamo, Exchange};

use crate::harness::{each_dynamo, each_lossy, put, s, user};

const NOON: i64 = 1_795_000_000;

fn exchange(timestamp: i64, question: &str) -> Exchange {
    Exchange { timestamp, question: question.to_owned(), answer: format!("{question}!"), truncated: false }
}

fn n(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

async fn questions(dynamo: &Dynamo, max: usize) -> Vec<String> {
    let exchanges = dynamo.chats().last(&user("ada@x.com"), max).await.unwrap();
    exchanges.into_iter().map(|exchange| exchange.question).collect()
}

#[tokio::test]
async fn exchanges_of_one_second_are_all_kept() {
    each_dynamo(async |dynamo| {
        let (chats, ada) = (dynamo.chats(), user("ada@x.com"));
        let stored =
            join_all((0..20).map(async |n| chats.store(&ada, &exchange(NOON, &n.to_string())).await));
        let mut seconds: Vec<i64> = stored.await.into_iter().map(Result::unwrap).collect();
        seconds.sort_unstable();
        assert_eq!(seconds, (NOON..NOON + 20).collect::<Vec<_>>());
        assert_eq!(chats.last(&ada, 100).await.unwrap().len(), 20);
        assert!(chats.last(&user("bob@x.com"), 100).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn the_last_exchanges_are_given_with_the_oldest_of_them_first() {
    each_dynamo(async |dynamo| {
        for minute in [3, 1, 2, 5, 4] {
            let exchange = exchange(NOON + 60 * minute, &minute.to_string());
            dynamo.chats().store(&user("ada@x.com"), &exchange).await.unwrap();
        }
        assert_eq!(questions(dynamo, 3).await, ["3", "4", "5"]);
        assert_eq!(questions(dynamo, 100).await, ["1", "2", "3", "4", "5"]);
    })
    .await;
}

#[tokio::test]
async fn a_history_of_several_pages_is_read_to_its_end() {
    each_dynamo(async |dynamo| {
        let long = "x".repeat(150_000);
        for n in 0..6 {
            dynamo
                .chats()
                .store(&user("ada@x.com"), &exchange(NOON + n, &format!("{n}{long}")))
                .await
                .unwrap();
        }
        let starts: String =
            questions(dynamo, 100).await.iter().map(|question| question.chars().next().unwrap()).collect();
        assert_eq!(starts, "012345");
    })
    .await;
}

#[tokio::test]
async fn rows_are_what_the_old_platform_writes_and_its_own_are_read() {
    each_dynamo(async |dynamo| {
        let (table, chats) = (&dynamo.tables().chat_history, dynamo.chats());
        chats.store(&user("ada@x.com"), &exchange(NOON, "Is \"this\" bad?")).await.unwrap();
        let request = dynamo.client().get_item().table_name(table).key("email", s("ada@x.com"));
        let mut row = request.key("timestamp", n(NOON)).send().await.unwrap().item.unwrap();
        assert!(row.remove("exchange_id").is_some());
        assert_eq!(row.len(), 4);
        assert_eq!(row["user_message"], s(r#"{"role":"user","text":"Is \"this\" bad?"}"#));
        assert_eq!(row["bot_message"], s(r#"{"role":"bot","text":"Is \"this\" bad?!"}"#));

        let bot = || ("bot_message", s(r#"{"role": "bot", "text": "hm"}"#));
        let old = |time, message| [("email", s("ada@x.com")), ("timestamp", n(time)), message, bot()];
        put(dynamo, table, old("1000", ("user_message", s(r#"{"role": "user", "text": "a"}"#)))).await;
        put(dynamo, table, old("1001.5", ("user_message", s("b")))).await;
        put(dynamo, table, old("1002", ("user_message", AttributeValue::Null(true)))).await;
        put(dynamo, table, [("email", s("ada@x.com")), ("timestamp", n(1003)), bot()]).await;
        assert_eq!(questions(dynamo, 100).await, ["a", "b", "Is \"this\" bad?"]);
    })
    .await;
}

#[tokio::test]
async fn answer_that_was_cut_short_is_marked_in_its_row_and_read_so() {
    each_dynamo(async |dynamo| {
        let (table, chats, ada) = (&dynamo.tables().chat_history, dynamo.chats(), user("ada@x.com"));
        let cut = Exchange { truncated: true, answer: String::new(), ..exchange(NOON, "a") };
        for stored in [&cut, &exchange(NOON + 1, "b")] {
            chats.store(&ada, stored).await.unwrap();
        }
        let odd = [
            ("email", s("ada@x.com")),
            ("timestamp", n(NOON + 2)),
            ("user_message", s("c")),
            ("bot_message", s("c")),
            ("truncated", s("true")),
        ];
        put(dynamo, table, odd).await;
        let read = chats.last(&ada, 100).await.unwrap();
        let marks: Vec<bool> = read.iter().map(|exchange| exchange.truncated).collect();
        assert_eq!((marks, read[0].answer.as_str()), (vec![true, false, false], ""));
        let request = dynamo.client().get_item().table_name(table).key("email", s("ada@x.com"));
        let row = request.key("timestamp", n(NOON)).send().await.unwrap().item.unwrap();
        assert_eq!(row["truncated"], AttributeValue::Bool(true));
    })
    .await;
}

#[tokio::test]
async fn an_exchange_whose_answer_was_lost_is_stored_once() {
    each_lossy(async |dynamo, proxy| {
        proxy.lose_answers(1);
        let second = dynamo.chats().store(&user("ada@x.com"), &exchange(NOON, "a")).await.unwrap();
        assert_eq!((second, proxy.lost()), (NOON, 1));
        assert_eq!(questions(dynamo, 100).await, ["a"]);
    })
    .await;
}
