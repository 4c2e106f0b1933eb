//! What `luytre stats`, `luytre timeline` and `luytre query` promise at the
//! prompt, against the real hub.

use std::fs;

use luytre::model::principal::Role;

use crate::harness::{TestHub, luytre, luytre_watching};

/// A hub with an organisation that publishes and one that asks.
async fn hub_with(lines: &str) -> TestHub {
    let roles = [Role::Publisher, Role::Subscriber, Role::Analyst];
    let hub = TestHub::builder()
        .principal("a", "system/feed", &roles)
        .principal("b", "user/an", &[Role::Analyst])
        .principal("b", "user/binh", &[Role::Analyst, Role::Subscriber])
        .start()
        .await;
    publish(&hub, lines).await;
    hub
}

async fn publish(hub: &TestHub, lines: &str) {
    let list = hub.dir().join("list.jsonl");
    fs::write(&list, lines).unwrap();
    luytre(hub, "a", "system/feed", &["publish", list.to_str().unwrap(), "--quiet"]).await.well();
}

const LINES: &str = r#"{"value":"evil.example","tlp":"green","labels":["c2"],"family":"Emotet"}
{"value":"bad.example","tlp":"green","labels":["c2","phishing"]}
{"value":"198.51.100.7","tlp":"clear","family":"=cmd"}
{"value":"198.51.100.8","tlp":"amber","to":["a"],"family":"hidden"}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_are_told_as_bars_as_json_as_csv_and_as_a_drawing() {
    let hub = hub_with(LINES).await;
    let analyst = async |words: &[&str]| luytre(&hub, "b", "user/an", words).await;

    let told = analyst(&["stats", "--lang", "vi"]).await;
    assert!(told.stderr.starts_with("luytre: 3 chỉ báo, theo bộ đếm của trung tâm, tính đến 20"), "{told:?}");
    let bars = told.well();
    let lines: Vec<_> = bars.lines().collect();
    assert!(
        lines[0].starts_with("domain  2  ##########") && lines[1].starts_with("ipv4    1  #####"),
        "{bars}"
    );

    let json = analyst(&["stats", "--by", "label", "--json"]).await.json().remove(0);
    let rows = serde_json::json!([{"value": "c2", "count": 2}, {"value": "phishing", "count": 1}]);
    assert_eq!((&json["rows"], &json["total"], &json["source"]), (&rows, &3.into(), &"counters".into()));
    // What a filter makes one ask of each is gone through.
    let json = analyst(&["stats", "--by", "owner", "--text", "emotet", "--json"]).await.json().remove(0);
    let rows = serde_json::json!([{"value": "a", "count": 1}]);
    assert_eq!((&json["rows"], &json["source"], &json["exact"]), (&rows, &"scan".into(), &true.into()));
    // Whoever may not see it finds no family of it.
    let csv = analyst(&["stats", "--by", "family", "--csv"]).await.well();
    assert_eq!(csv, "family,count\r\n'=cmd,1\r\nemotet,1\r\n");

    let svg = hub.dir().join("days.svg");
    let words = ["timeline", "--by", "kind", "--svg", svg.to_str().unwrap()];
    let told = analyst(&words).await;
    assert!(told.stderr.contains("by the hub's counters"), "{told:?}");
    assert_eq!(told.well().lines().count(), 3);
    assert!(fs::read_to_string(&svg).unwrap().contains("domain"));
    let days = analyst(&["timeline", "--utc"]).await;
    assert!(days.stderr.contains("by going through them"), "{days:?}");
    let days = days.well();
    assert_eq!(
        (days.lines().count(), days.lines().last().unwrap().split_whitespace().nth(1)),
        (30, Some("3"))
    );

    let wrong = analyst(&["timeline", "--from", "2020-01-01"]).await;
    assert_eq!(wrong.code, 64, "{wrong:?}");
    assert!(wrong.stderr.contains("histogram.range") && wrong.stderr.contains("months"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_a_table_a_csv_file_or_lines_of_json_in_the_language_of_its_reader() {
    let hub = hub_with(LINES).await;
    let analyst = async |words: &[&str]| luytre(&hub, "b", "user/an", words).await;
    let table = analyst(&["query", "--label", "c2", "--lang", "vi"]).await.well();
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("THAY ĐỔI") && lines[0].contains("TLP") && lines[0].contains("GIÁ TRỊ"));
    // It is no terminal: times are told in full, and nothing is coloured.
    assert!(lines[1].contains(" +07:00  domain  TLP:GREEN  a") && !table.contains('\x1b'), "{table}");
    assert!(lines[2].contains("evil.example") && lines[2].ends_with("Emotet  [c2]"), "{table}");
    let utc = analyst(&["query", "--utc"]).await.well();
    assert!(utc.contains(" +00:00  ipv4    TLP:CLEAR  a"), "{utc}");

    let csv = analyst(&["query", "--csv", "--order", "published-oldest"]).await.well();
    let lines: Vec<_> = csv.lines().collect();
    assert!(lines[0].starts_with("name,kind,value,tlp,") && lines.len() == 4, "{csv}");
    assert!(lines[3].contains(",198.51.100.7,TLP:CLEAR,") && lines[3].contains(",'=cmd,"), "{csv}");
    let json = analyst(&["query", "--json", "--family", "emotet"]).await.json();
    assert_eq!((json.len(), &json[0]["value"]), (1, &"evil.example".into()));

    let few = analyst(&["query", "--limit", "2", "--lang", "vi"]).await;
    assert!(few.stderr.contains("còn nhiều hơn 2 chỉ báo"), "{few:?}");
    let none = analyst(&["query", "--label", "none"]).await;
    assert!(none.stdout.is_empty() && none.stderr.contains("nothing that you may see"), "{none:?}");
}

/// A subscription tells who may subscribe, and asking again whoever may not,
/// or asks what subscriptions do not tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_watched_comes_once_as_it_newly_matches_until_one_has_enough() {
    let hub = hub_with(LINES).await;
    let later = r#"{"value":"bad.example","tlp":"green","labels":["c2","phishing"],"description":"changed"}
{"value":"other.example","tlp":"green","labels":["other"]}
{"value":"new.example","tlp":"green","labels":["c2"],"description":"Lừa đảo"}
"#;
    let watching: [(&str, &[&str]); 3] = [
        ("user/binh", &["query", "--label", "c2", "--watch", "--json"]),
        ("user/an", &["query", "--label", "c2", "--watch", "--json"]),
        ("user/binh", &["query", "--label", "c2", "--not", "kind=url", "--watch", "--json"]),
    ];
    let mut begun: Vec<_> =
        watching.iter().map(|(name, words)| luytre_watching(&hub, "b", name, words)).collect();
    for watch in &mut begun {
        watch.told("Ctrl-C").await;
    }
    publish(&hub, later).await;
    for mut watch in begun {
        let mut values = Vec::new();
        for _ in 0..4 {
            let line: serde_json::Value = serde_json::from_str(&watch.line().await).unwrap();
            values.push(line["value"].as_str().unwrap().to_owned());
        }
        assert_eq!(values, ["bad.example", "evil.example", "bad.example", "new.example"]);
        let ended = watch.interrupt().await;
        assert_eq!((ended.code, ended.stdout.as_str()), (0, ""), "{ended:?}");
    }
}
