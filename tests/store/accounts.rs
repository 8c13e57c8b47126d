//! Accounts: who wins a race for an address, and which spelling of it counts.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::join_all;
use persistence::{Account, AccountKind, Accounts, CreateError, Dynamo, NewAccount};

use crate::harness::{each_dynamo, each_lossy, put, s};

fn new_user(email: &str) -> NewAccount {
    NewAccount {
        kind: AccountKind::User,
        email: email.to_owned(),
        name: "Ada".to_owned(),
        password_hash: "$argon2id$1".to_owned(),
        phone_number: "+91 12345".to_owned(),
        location: None,
    }
}

async fn user(accounts: &Accounts, email: &str) -> Option<Account> {
    accounts.find(AccountKind::User, email).await.unwrap()
}

async fn item(dynamo: &Dynamo, table: &str, email: &str) -> HashMap<String, AttributeValue> {
    let request = dynamo.client().get_item().table_name(table).key("email", s(email)).consistent_read(true);
    request.send().await.unwrap().item.unwrap()
}

#[tokio::test]
async fn of_fifty_sign_ups_at_once_for_one_address_exactly_one_wins() {
    each_dynamo(async |dynamo| {
        let accounts = dynamo.accounts();
        let sign_ups = (0..50).map(|n| {
            let email = if n % 2 == 0 { "ada@x.com" } else { "Ada@X.com" };
            let account = NewAccount { name: format!("Ada {n}"), ..new_user(email) };
            let accounts = accounts.clone();
            async move { (n, accounts.create(account).await) }
        });
        let mut winners = Vec::new();
        for (n, outcome) in join_all(sign_ups).await {
            match outcome {
                Ok(()) => winners.push(n),
                Err(CreateError::Taken) => {}
                Err(CreateError::Store(error)) => panic!("{error}"),
            }
        }
        let [winner] = winners[..] else { panic!("{} winners", winners.len()) };
        assert_eq!(user(&accounts, "ada@x.com").await.unwrap().name, format!("Ada {winner}"));
    })
    .await;
}

#[tokio::test]
async fn a_new_account_is_stored_lower_cased_and_found_as_typed() {
    each_dynamo(async |dynamo| {
        let accounts = dynamo.accounts();
        accounts.create(new_user("Ada.L@X.com")).await.unwrap();
        for typed in ["ada.l@x.com", "Ada.L@X.com", "ADA.L@X.COM"] {
            assert_eq!(user(&accounts, typed).await.unwrap().email, "ada.l@x.com", "{typed}");
        }
        assert_eq!(user(&accounts, "ada@x.com").await, None);
        assert_eq!(accounts.find(AccountKind::Doctor, "ada.l@x.com").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn an_old_account_is_found_under_the_case_it_came_in_and_takes_the_address_as_sent() {
    each_dynamo(async |dynamo| {
        let accounts = dynamo.accounts();
        let old = [("email", s("Ada@x.com")), ("username", s("Old Ada")), ("password", s("$2b$12$abc"))];
        put(dynamo, &dynamo.tables().users, old).await;
        let found = user(&accounts, "Ada@x.com").await.unwrap();
        assert_eq!((found.email.as_str(), found.password_hash.as_deref()), ("Ada@x.com", Some("$2b$12$abc")));
        assert_eq!(user(&accounts, "ada@x.com").await, None);
        assert!(matches!(accounts.create(new_user("Ada@x.com")).await, Err(CreateError::Taken)));

        // Another spelling of an old address is another account, as it was on the old platform.
        accounts.create(new_user("ada@x.com")).await.unwrap();
        assert_eq!(user(&accounts, "Ada@x.com").await.unwrap().name, "Old Ada");
        assert_eq!(user(&accounts, "ada@x.com").await.unwrap().name, "Ada");
    })
    .await;
}

#[tokio::test]
async fn an_account_without_a_password_that_can_be_read_is_found_and_has_none() {
    each_dynamo(async |dynamo| {
        let users = &dynamo.tables().users;
        put(dynamo, users, [("email", s("a@x.com"))]).await;
        put(dynamo, users, [("email", s("b@x.com")), ("password", AttributeValue::Null(true))]).await;
        put(dynamo, users, [("email", s("c@x.com")), ("password", AttributeValue::N("1".to_owned()))]).await;
        put(dynamo, users, [("email", s("d@x.com")), ("password", s("")), ("username", s("D"))]).await;
        for (email, name) in [("a@x.com", ""), ("b@x.com", ""), ("c@x.com", ""), ("d@x.com", "D")] {
            let expected = Account { email: email.to_owned(), name: name.to_owned(), password_hash: None };
            assert_eq!(user(&dynamo.accounts(), email).await, Some(expected));
        }
    })
    .await;
}

#[tokio::test]
async fn new_rows_are_what_the_old_platform_writes() {
    each_dynamo(async |dynamo| {
        let accounts = dynamo.accounts();
        accounts.create(new_user("ada@x.com")).await.unwrap();
        let doctor = NewAccount {
            kind: AccountKind::Doctor,
            location: Some("Hyderabad".to_owned()),
            ..new_user("dr@x.com")
        };
        accounts.create(doctor).await.unwrap();

        let mut row = item(dynamo, &dynamo.tables().users, "ada@x.com").await;
        assert!(row.remove("signup_id").is_some());
        let no = AttributeValue::Bool(false);
        let common = [
            ("password", s("$argon2id$1")),
            ("phoneNumber", s("+91 12345")),
            ("emailVerified", no.clone()),
            ("phoneVerified", no.clone()),
        ];
        let with = |more: &[(&str, AttributeValue)]| -> HashMap<String, AttributeValue> {
            common.iter().chain(more).map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
        };
        let location = ("location", AttributeValue::Null(true));
        assert_eq!(row, with(&[("email", s("ada@x.com")), ("username", s("Ada")), location]));

        let mut row = item(dynamo, &dynamo.tables().doctors, "dr@x.com").await;
        assert!(row.remove("signup_id").is_some());
        let own = [
            ("email", s("dr@x.com")),
            ("doctorname", s("Ada")),
            ("location", s("Hyderabad")),
            ("onboarded", no.clone()),
        ];
        assert_eq!(row, with(&own));
    })
    .await;
}

#[tokio::test]
async fn a_password_is_replaced_only_if_it_is_the_one_that_was_checked() {
    each_dynamo(async |dynamo| {
        let accounts = dynamo.accounts();
        accounts.create(new_user("ada@x.com")).await.unwrap();
        let replace = async |old: &str, new: &str| {
            accounts.replace_password(AccountKind::User, "ada@x.com", old, new).await.unwrap()
        };
        assert!(!replace("$2b$", "$argon2id$2").await);
        assert!(replace("$argon2id$1", "$argon2id$2").await);
        assert_eq!(user(&accounts, "ada@x.com").await.unwrap().password_hash.as_deref(), Some("$argon2id$2"));
        let nobody = accounts.replace_password(AccountKind::User, "bob@x.com", "a", "b").await.unwrap();
        assert!(!nobody);
        assert_eq!(user(&accounts, "bob@x.com").await, None);
    })
    .await;
}

#[tokio::test]
async fn a_sign_up_whose_answer_was_lost_still_wins() {
    each_lossy(async |dynamo, proxy| {
        proxy.lose_answers(1);
        dynamo.accounts().create(new_user("ada@x.com")).await.unwrap();
        assert_eq!(proxy.lost(), 1);
        let again = dynamo.accounts().create(new_user("ada@x.com")).await;
        assert!(matches!(again, Err(CreateError::Taken)), "{again:?}");
    })
    .await;
}
