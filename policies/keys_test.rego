package argus.keys_test

import data.argus.keys
import data.argus.lib.fixtures

of_indexer := {"owner": {"serviceAccount": "indexer"}, "scopes": ["read"]}

of_ada := {"owner": {"user": "ada@acme.example"}, "scopes": ["read"], "ttl": "30d"}

create(base, fields) := fixtures.create("ApiKey", "k", object.union(base, fields))

update(base, before, fields) := fixtures.update("ApiKey", "k", object.union(base, before), fields)

life(change) := fixtures.messages(found) if found := keys.deny_life with input as fixtures.plan([change])

scope(change) := fixtures.messages(found) if found := keys.deny_scope with input as fixtures.plan([change])

wildcard(change) := fixtures.messages(found) if found := keys.deny_wildcard with input as fixtures.plan([change])

test_a_key_that_ends_within_the_longest_life_passes if {
	every fields in [
		{"ttl": "365d"},
		{"ttl": "52w"},
		{"ttl": "8760h"},
		{"ttl": "525600m"},
		{"ttl": "31536000s"},
		{"expiresAt": "2027-03-01T09:00:00Z"},
	] {
		life(create(of_indexer, fields)) == set()
	}
}

test_a_key_that_lives_longer_is_denied if {
	every fields in [
		{"ttl": "366d"},
		{"ttl": "53w"},
		{"ttl": "8761h"},
		{"ttl": "525601m"},
		{"ttl": "31536001s"},
	] {
		life(create(of_indexer, fields)) == {sprintf("the key `k` lives %s, and a key lives 365 days at most", [fields.ttl])}
	}
}

test_a_key_that_ends_later_is_denied_where_its_end_is_written if {
	found := keys.deny_life with input as fixtures.plan([create(of_indexer, {"expiresAt": "2027-03-01T09:00:01Z"})])
	found == {{
		"msg": "the key `k` ends at 2027-03-01T09:00:01Z, and a key lives 365 days at most",
		"subject": "acme/ApiKey/k",
		"origin": fixtures.origin("k"), "path": "expiresAt",
	}}
}

test_a_key_that_ends_when_nobody_counts_any_more_is_denied if {
	life(create(of_indexer, {"expiresAt": "9999-12-31T23:59:59Z"})) == {
		"the key `k` ends at 9999-12-31T23:59:59Z, and a key lives 365 days at most",
	}
}

test_a_life_that_is_too_long_is_pointed_at_where_it_is_written if {
	found := keys.deny_life with input as fixtures.plan([create(of_indexer, {"ttl": "2000d"})])
	fixtures.places(found, "k") == {"ttl"}
}

test_a_key_that_never_ends_is_denied if {
	life(create(of_indexer, {})) == {"the key `k` never ends, and a key lives 365 days at most"}
}

test_an_old_key_that_never_ends_denies_no_other_change if {
	life(update(of_indexer, {}, {"description": "x"})) == set()
	life(fixtures.adopt("ApiKey", "k", of_indexer)) == set()
	life(update(of_indexer, {"ttl": "90d"}, {"ttl": null})) == {"the key `k` never ends, and a key lives 365 days at most"}
}

test_one_narrow_scope_is_enough if {
	scope(create(of_indexer, {"scopes": ["admin", "read"]})) == set()
	scope(create(of_indexer, {"scopes": ["projects:read"]})) == set()
}

test_a_key_with_broad_scopes_only_is_denied if {
	every scopes in [["admin"], ["*"], ["keys:*"], ["admin", "*", "keys:*"], []] {
		scope(create(of_indexer, {"scopes": scopes})) == {"the key `k` has no narrow scope"}
	}
}

test_a_missing_narrow_scope_is_pointed_at if {
	found := keys.deny_scope with input as fixtures.plan([create(of_indexer, {"scopes": ["admin"]})])
	fixtures.places(found, "k") == {"scopes"}
}

test_old_broad_scopes_deny_no_other_change if {
	scope(update(of_indexer, {"scopes": ["admin"]}, {"description": "x"})) == set()
	scope(update(of_indexer, {"scopes": ["read"]}, {"scopes": ["admin"]})) == {"the key `k` has no narrow scope"}
}

test_a_wildcard_for_a_program_is_denied if {
	wildcard(create(of_indexer, {"scopes": ["read", "*"]})) == {"the key `k` may do `*`, and acts for nobody who is an owner"}
	wildcard(create(of_indexer, {"scopes": ["read", "keys:*"]})) == {
		"the key `k` may do `keys:*`, and acts for nobody who is an owner",
	}
}

test_a_wildcard_for_somebody_who_is_no_owner_is_denied if {
	change := create(of_ada, {"scopes": ["read", "*"], "owner": {"user": "grace@acme.example"}})
	found := keys.deny_wildcard with input as fixtures.plan([change])
	found == {{
		"msg": "the key `k` may do `*`, and acts for nobody who is an owner",
		"subject": "acme/ApiKey/k",
		"origin": fixtures.origin("k"), "path": "scopes",
	}}
}

test_a_wildcard_for_an_owner_passes if {
	wildcard(create(of_ada, {"scopes": ["read", "*"]})) == set()
}

test_a_wildcard_for_an_owner_who_is_suspended_is_denied if {
	found := keys.deny_wildcard with input as fixtures.plan([
		create(of_ada, {"scopes": ["read", "*"]}),
		fixtures.update("Member", "ada@acme.example", {"roles": ["owner"]}, {"status": "suspended"}),
	])
	count(found) == 1
}

test_no_wildcard_passes_whoever_it_acts_for if {
	wildcard(create(of_indexer, {"scopes": ["read", "admin"]})) == set()
}

test_a_key_with_a_wildcard_cannot_be_handed_to_a_program if {
	wildcard(update(of_ada, {"scopes": ["*"]}, {"description": "x"})) == set()
	wildcard(update(of_ada, {"scopes": ["*"]}, {"owner": {"user": "grace@acme.example"}})) == {
		"the key `k` may do `*`, and acts for nobody who is an owner",
	}
	wildcard(update(of_ada, {"scopes": ["*"]}, {"owner": {"user": null, "serviceAccount": "indexer"}})) == {
		"the key `k` may do `*`, and acts for nobody who is an owner",
	}
}

test_an_old_wildcard_denies_no_other_change if {
	wildcard(update(of_indexer, {"scopes": ["*"]}, {"description": "x"})) == set()
}
