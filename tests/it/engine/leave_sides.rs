//! Who speaks of leave for which side: what each is answered, who takes the
//! place of whom, and how many requests one person may have waiting.

use super::leave::{
    ASKER, GRANTED, OWNER, ask, grant, granted, green, heard, listed, original, verified, withdraw,
};
use super::support::{Engine, block_on, identity};

#[test]
fn who_asks_again_is_not_told_who_answered() {
    block_on(async {
        let hub = Engine::new();
        let id = original(&hub).await;
        grant(&hub, OWNER, granted(id, ASKER, green())).await.unwrap();
        let again = ask(&hub, &hub.caller(ASKER), id).await.unwrap();
        assert_eq!((again.state, again.awaits_answer, again.answerer.as_str()), (GRANTED, true, ""));
        assert_eq!(again.note, "not before noon", "what was answered is for both sides");
        assert_eq!(heard(&hub, OWNER).await.last().unwrap().answerer, identity(OWNER).to_string());
        let given_up = withdraw(&hub, ASKER, id, ASKER).await.unwrap();
        assert_eq!(listed(&hub, &hub.caller(ASKER), false, 9).await, [given_up]);
        verified(hub).await;
    });
}
