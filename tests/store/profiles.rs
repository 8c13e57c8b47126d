//! Profiles and subscriptions: what is read of a doctor, what is written, and who wins a race.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use futures::{StreamExt, stream};
use persistence::{
    AccountsError, DocumentKind, Dynamo, ProfileChange, ProfileText, Profiles, PublicDoctor, Subscription,
};

use crate::harness::{doctor, each_dynamo, each_lossy, put, s, user};

/// Callers that contend at the same time: so few that none of them times out on a busy machine.
const AT_ONCE: usize = 10;
/// Far more attempts than they need: in each round of attempts one of them succeeds.
const ATTEMPTS_MAX: usize = 1000;

const NULL: AttributeValue = AttributeValue::Null(true);

fn n(digits: &str) -> AttributeValue {
    AttributeValue::N(digits.to_owned())
}

fn list(names: &[&str]) -> AttributeValue {
    AttributeValue::L(names.iter().map(|name| s(*name)).collect())
}

async fn row(dynamo: &Dynamo, table: &str, email: &str) -> HashMap<String, AttributeValue> {
    let request = dynamo.client().get_item().table_name(table).key("email", s(email)).consistent_read(true);
    request.send().await.unwrap().item.unwrap()
}

/// The two lists that a subscription of `ada@x.com` to `dr@x.com` changes.
async fn lists(dynamo: &Dynamo) -> (Option<AttributeValue>, Option<AttributeValue>) {
    let of_user = row(dynamo, &dynamo.tables().users, "ada@x.com").await.remove("subscribed_doctors");
    let of_doctor = row(dynamo, &dynamo.tables().doctors, "dr@x.com").await.remove("subscribers");
    (of_user, of_doctor)
}

async fn subscribe(profiles: &Profiles) -> Subscription {
    profiles.subscribe(&user("ada@x.com"), &doctor("dr@x.com")).await.unwrap()
}

/// As `web` does: somebody else's change is no answer.
async fn subscribe_at_last(profiles: &Profiles) -> Subscription {
    for _ in 0..ATTEMPTS_MAX {
        match subscribe(profiles).await {
            Subscription::Contended => {}
            settled => return settled,
        }
    }
    panic!("contended {ATTEMPTS_MAX} times")
}

#[tokio::test]
async fn every_row_is_listed_with_what_of_it_can_be_read() {
    each_dynamo(async |dynamo| {
        let doctors = &dynamo.tables().doctors;
        let whole = [
            ("email", s("b@x.com")),
            ("doctorname", s("Dr. B")),
            ("password", s("$2b$12$secret")),
            ("phoneNumber", s("+91 12345")),
            ("location", s("Hyderabad")),
            ("onboarded", AttributeValue::Bool(true)),
            ("description", s("Hearts.")),
            ("specialization", s("Cardiology")),
            ("experience", s("12 years")),
            ("fees", n("500")),
            ("timings", s("10 to 4")),
            ("licenseNumber", s("L-1")),
            ("affiliation", s("Apollo")),
            ("profilePhoto", s("https://photo")),
            ("subscribers", list(&["ada@x.com", "bob@x.com"])),
        ];
        put(dynamo, doctors, whole).await;
        let odd = [
            ("email", s("a@x.com")),
            ("doctorname", NULL),
            ("location", NULL),
            ("onboarded", s("yes")),
            ("specialization", n("7")),
            ("experience", n("12")),
            ("fees", s("many")),
            ("profilePhoto", s("")),
            ("subscribers", NULL),
        ];
        put(dynamo, doctors, odd).await;
        put(dynamo, doctors, [("email", s("C@x.com"))]).await;

        let text = |text: &str| Some(text.to_owned());
        let nothing = |email: &str| PublicDoctor { email: email.to_owned(), ..PublicDoctor::default() };
        let expected = [
            nothing("C@x.com"),
            PublicDoctor { experience: text("12"), ..nothing("a@x.com") },
            PublicDoctor {
                email: "b@x.com".to_owned(),
                name: text("Dr. B"),
                location: text("Hyderabad"),
                specialization: text("Cardiology"),
                experience: text("12 years"),
                fees: Some(500.into()),
                timings: text("10 to 4"),
                affiliation: text("Apollo"),
                description: text("Hearts."),
                onboarded: true,
                subscribers: 2,
                photo: text("https://photo"),
            },
        ];
        assert!(dynamo.profiles().all().await.unwrap() == expected);
        assert!(dynamo.profiles().one("b@x.com").await.unwrap().as_ref() == Some(&expected[2]));
        assert!(dynamo.profiles().one("z@x.com").await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn a_list_longer_than_a_page_is_whole() {
    each_dynamo(async |dynamo| {
        let doctors = &dynamo.tables().doctors;
        // Three of these fill a page of a megabyte.
        for name in 0..8 {
            let email = format!("dr{name}@x.com");
            put(dynamo, doctors, [("email", s(email)), ("licenseNumber", s("x".repeat(390_000)))]).await;
        }
        let listed = dynamo.profiles().all().await.unwrap();
        let listed: Vec<_> = listed.iter().map(|doctor| doctor.email.clone()).collect();
        assert_eq!(listed, (0..8).map(|name| format!("dr{name}@x.com")).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn a_change_of_a_profile_leaves_the_rest_as_it_was() {
    each_dynamo(async |dynamo| {
        let doctors = &dynamo.tables().doctors;
        let before = [
            ("email", s("dr@x.com")),
            ("password", s("$2b$")),
            ("onboarded", AttributeValue::Bool(false)),
            ("timings", s("10 to 4")),
        ];
        put(dynamo, doctors, before).await;
        let change = ProfileChange {
            texts: vec![
                (ProfileText::Experience, "12".to_owned()),
                (ProfileText::LicenseNumber, "L-1".to_owned()),
            ],
            fees: Some(500),
            documents: vec![(DocumentKind::GovtIdProof, "https://id".to_owned())],
        };
        assert!(dynamo.profiles().complete("dr@x.com", change.clone()).await.unwrap());
        let expected = [
            ("email", s("dr@x.com")),
            ("password", s("$2b$")),
            ("onboarded", AttributeValue::Bool(true)),
            ("timings", s("10 to 4")),
            ("experience", s("12")),
            ("licenseNumber", s("L-1")),
            ("fees", n("500")),
            ("govtIdProof", s("https://id")),
            // What was never said is there, as in the old platform's rows.
            ("affiliation", AttributeValue::Null(true)),
            ("description", AttributeValue::Null(true)),
            ("registrationId", AttributeValue::Null(true)),
            ("specialization", AttributeValue::Null(true)),
        ];
        let expected = HashMap::from(expected.map(|(name, value)| (name.to_owned(), value)));
        assert_eq!(row(dynamo, doctors, "dr@x.com").await, expected);

        let documents = dynamo.profiles().documents("dr@x.com").await.unwrap().unwrap();
        assert_eq!(documents, HashMap::from([(DocumentKind::GovtIdProof, "https://id".to_owned())]));
        assert!(dynamo.profiles().documents("nobody@x.com").await.unwrap().is_none());

        assert!(!dynamo.profiles().complete("nobody@x.com", change).await.unwrap());
        assert!(dynamo.profiles().one("nobody@x.com").await.unwrap().is_none(), "nobody was made up");
    })
    .await;
}

#[tokio::test]
async fn a_subscription_is_in_both_lists_and_once() {
    each_dynamo(async |dynamo| {
        let profiles = dynamo.profiles();
        put(dynamo, &dynamo.tables().users, [("email", s("ada@x.com"))]).await;
        assert_eq!(subscribe(&profiles).await, Subscription::NoDoctor);
        put(dynamo, &dynamo.tables().doctors, [("email", s("dr@x.com")), ("subscribers", NULL)]).await;
        assert_eq!(subscribe(&profiles).await, Subscription::New);
        assert_eq!(subscribe(&profiles).await, Subscription::Standing);
        assert_eq!(lists(dynamo).await, (Some(list(&["dr@x.com"])), Some(list(&["ada@x.com"]))));
        let of_nobody = profiles.subscribe(&user("bob@x.com"), &doctor("dr@x.com")).await.unwrap();
        assert_eq!(of_nobody, Subscription::NoUser);
    })
    .await;
}

#[tokio::test]
async fn of_fifty_subscriptions_ten_at_once_one_is_new() {
    each_dynamo(async |dynamo| {
        put(dynamo, &dynamo.tables().users, [("email", s("ada@x.com"))]).await;
        put(dynamo, &dynamo.tables().doctors, [("email", s("dr@x.com"))]).await;
        let profiles = dynamo.profiles();
        let subscribing = (0..50).map(|_| subscribe_at_last(&profiles));
        let outcomes: Vec<_> = stream::iter(subscribing).buffer_unordered(AT_ONCE).collect().await;
        let new = outcomes.iter().filter(|outcome| **outcome == Subscription::New).count();
        let standing = outcomes.iter().filter(|outcome| **outcome == Subscription::Standing).count();
        assert_eq!((new, standing), (1, 49), "{outcomes:?}");
        assert_eq!(lists(dynamo).await, (Some(list(&["dr@x.com"])), Some(list(&["ada@x.com"]))));
    })
    .await;
}

#[tokio::test]
async fn of_fifty_patients_ten_at_once_none_is_lost() {
    each_dynamo(async |dynamo| {
        put(dynamo, &dynamo.tables().doctors, [("email", s("dr@x.com"))]).await;
        let profiles = dynamo.profiles();
        for name in 0..50 {
            put(dynamo, &dynamo.tables().users, [("email", s(format!("u{name}@x.com")))]).await;
        }
        let subscribing = (0..50).map(|name| {
            let (profiles, patient) = (profiles.clone(), user(&format!("u{name}@x.com")));
            async move {
                for _ in 0..ATTEMPTS_MAX {
                    if profiles.subscribe(&patient, &doctor("dr@x.com")).await.unwrap() == Subscription::New {
                        return;
                    }
                }
                panic!("contended {ATTEMPTS_MAX} times")
            }
        });
        stream::iter(subscribing).buffer_unordered(AT_ONCE).collect::<()>().await;
        assert_eq!(profiles.one("dr@x.com").await.unwrap().unwrap().subscribers, 50);
    })
    .await;
}

#[tokio::test]
async fn a_subscription_that_one_side_knows_of_becomes_whole() {
    each_dynamo(async |dynamo| {
        let (users, doctors) = (&dynamo.tables().users, &dynamo.tables().doctors);
        let profiles = dynamo.profiles();
        put(dynamo, users, [("email", s("ada@x.com")), ("subscribed_doctors", list(&["dr@x.com"]))]).await;
        put(dynamo, doctors, [("email", s("dr@x.com")), ("subscribers", list(&["bob@x.com"]))]).await;
        assert_eq!(subscribe(&profiles).await, Subscription::New);
        let whole = (Some(list(&["dr@x.com"])), Some(list(&["bob@x.com", "ada@x.com"])));
        assert_eq!(lists(dynamo).await, whole);

        put(dynamo, users, [("email", s("ada@x.com"))]).await;
        assert_eq!(subscribe(&profiles).await, Subscription::New);
        assert_eq!(lists(dynamo).await, whole);
    })
    .await;
}

#[tokio::test]
async fn a_list_without_room_takes_nobody_and_changes_neither() {
    each_dynamo(async |dynamo| {
        let (users, doctors) = (&dynamo.tables().users, &dynamo.tables().doctors);
        let profiles = dynamo.profiles();
        let full = || list(&vec!["somebody.with.a.long.address@somewhere.example.com"; 6_000]);
        put(dynamo, users, [("email", s("ada@x.com"))]).await;
        put(dynamo, doctors, [("email", s("dr@x.com")), ("subscribers", full())]).await;
        assert_eq!(subscribe(&profiles).await, Subscription::DoctorFull);
        assert_eq!(lists(dynamo).await, (None, Some(full())));
        put(dynamo, users, [("email", s("ada@x.com")), ("subscribed_doctors", full())]).await;
        put(dynamo, doctors, [("email", s("dr@x.com"))]).await;
        assert_eq!(subscribe(&profiles).await, Subscription::UserFull);
        assert_eq!(lists(dynamo).await, (Some(full()), None));
    })
    .await;
}

#[tokio::test]
async fn a_list_of_another_type_is_left_alone() {
    each_dynamo(async |dynamo| {
        let odd = || s("ada@x.com");
        put(dynamo, &dynamo.tables().users, [("email", s("ada@x.com"))]).await;
        put(dynamo, &dynamo.tables().doctors, [("email", s("dr@x.com")), ("subscribers", odd())]).await;
        let answer = dynamo.profiles().subscribe(&user("ada@x.com"), &doctor("dr@x.com")).await;
        assert!(matches!(answer, Err(AccountsError::Unavailable(_))), "{answer:?}");
        assert_eq!(lists(dynamo).await, (None, Some(odd())));
    })
    .await;
}

#[tokio::test]
async fn a_subscription_whose_answer_was_lost_is_made_once() {
    each_lossy(async |dynamo, proxy| {
        put(dynamo, &dynamo.tables().users, [("email", s("ada@x.com"))]).await;
        put(dynamo, &dynamo.tables().doctors, [("email", s("dr@x.com"))]).await;
        let profiles = dynamo.profiles();
        proxy.lose_answers_to("TransactWriteItems", 1);
        assert_eq!(subscribe(&profiles).await, Subscription::New);
        assert_eq!(proxy.lost(), 1);
        assert_eq!(lists(dynamo).await, (Some(list(&["dr@x.com"])), Some(list(&["ada@x.com"]))));
        proxy.lose_answers_to("GetItem", 2);
        assert_eq!(subscribe(&profiles).await, Subscription::Standing);
        assert_eq!(proxy.lost(), 3);
    })
    .await;
}

#[tokio::test]
async fn a_subscription_of_which_nothing_is_heard_may_have_been_made() {
    each_lossy(async |dynamo, proxy| {
        put(dynamo, &dynamo.tables().users, [("email", s("ada@x.com"))]).await;
        put(dynamo, &dynamo.tables().doctors, [("email", s("dr@x.com"))]).await;
        proxy.lose_answers_to("TransactWriteItems", 3);
        assert_eq!(subscribe(&dynamo.profiles()).await, Subscription::Unknown);
        assert_eq!(subscribe(&dynamo.profiles()).await, Subscription::Standing);
    })
    .await;
}
