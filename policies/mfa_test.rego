package argus.mfa_test

import data.argus.lib.fixtures
import data.argus.mfa

organization(before, fields) := fixtures.update("Organization", "acme", object.union(fixtures.rows.organization, before), fields)

off := {"requireMfa": false, "sso": {"enforced": false}}

found(changes, fields) := answer if answer := mfa.deny_unprotected with input as fixtures.plan_of(changes, fields)

promoted(before, after) := [fixtures.update("Member", "edsger@acme.example", before, after)]

test_an_organization_that_requires_a_second_factor_passes if {
	found([organization({}, {"displayName": "x"})], {}) == set()
	found([organization(off, {"requireMfa": true})], {}) == set()
	found([organization(off, {"sso": {"enforced": true}})], {}) == set()
	found([organization({"sso": {"enforced": true}}, {"requireMfa": false})], {}) == set()
}

test_switching_it_off_is_denied if {
	answer := found([organization({}, {"requireMfa": false})], {})
	answer == {{
		"msg": "3 of its members administer `acme`, and none of them would need a second factor",
		"subject": "Organization/acme",
		"origin": fixtures.origin("acme", "requireMfa"),
	}}
	count(found([organization({}, {"requireMfa": null})], {})) == 1
	count(found([organization({"requireMfa": null, "sso": {"enforced": true}}, {"sso": {"enforced": null}})], {})) == 1
}

test_a_new_organization_with_administrators_needs_it if {
	count(found([fixtures.create("Organization", "acme", {})], {})) == 1
	found([fixtures.create("Organization", "acme", {"requireMfa": true})], {}) == set()
}

test_without_administrators_nobody_needs_it if {
	answer := mfa.deny_unprotected with input as fixtures.plan([organization({}, {"requireMfa": false})])
		with input.after.members as {"m": {"roles": ["member"], "status": "active"}}
	answer == set()
}

test_an_old_organization_without_it_is_not_denied_other_changes if {
	found([organization(off, {"displayName": "x"})], {}) == set()
	found(promoted({"roles": ["member"]}, {"roles": ["viewer"]}), off) == set()
	found(promoted({"roles": ["admin"]}, {"roles": ["owner"]}), off) == set()
}

test_another_administrator_without_it_is_denied if {
	found(promoted({"roles": ["member"]}, {"roles": ["admin"]}), off) == {{
		"msg": "`edsger@acme.example` would administer an organization that asks for no second factor",
		"subject": "acme/Member/edsger@acme.example",
		"origin": fixtures.origin("edsger@acme.example", "roles"),
	}}
	count(found(promoted({"roles": ["admin"], "status": "suspended"}, {"status": "active"}), off)) == 1
	count(found([fixtures.create("Member", "new@acme.example", {"roles": ["owner"]})], off)) == 1
}

test_another_administrator_with_it_passes if {
	found(promoted({"roles": ["member"]}, {"roles": ["admin"]}), {}) == set()
}

test_the_administrators_of_a_new_organization_are_told_of_once if {
	changes := [fixtures.create("Organization", "acme", {}), fixtures.create("Member", "new@acme.example", {"roles": ["owner"]})]
	fixtures.messages(found(changes, {})) == {"4 of its members administer `acme`, and none of them would need a second factor"}
}

test_one_administrator_is_enough_to_need_it if {
	answer := mfa.deny_unprotected with input as fixtures.plan([organization({}, {"requireMfa": false})])
		with input.after.members as {"m": {"roles": ["admin"], "status": "active"}}
	fixtures.messages(answer) == {"1 of its members administer `acme`, and none of them would need a second factor"}
}
