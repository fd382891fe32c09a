package argus.naming_test

import data.argus.lib.fixtures
import data.argus.naming

pattern(change) := fixtures.messages(found) if found := naming.deny_pattern with input as fixtures.plan([change])

role(change) := fixtures.messages(found) if found := naming.deny_role with input as fixtures.plan([change])

described(change) := fixtures.messages(found) if found := naming.warn_described with input as fixtures.plan([change])

no_name(name) := sprintf("`%s` is no name as names are here: lower case with hyphens, at most 40 characters", [name])

forty := "a234567890123456789012345678901234567890"

test_good_names_pass if {
	every name in ["a", "search", "search-frontend", "k8s-2", forty] {
		pattern(fixtures.create("Project", name, {})) == set()
	}
}

test_other_names_are_denied if {
	every name in ["search_frontend", "2nd", "a--b", "a-", "-a", concat("", [forty, "1"])] {
		pattern(fixtures.create("Project", name, {})) == {no_name(name)}
	}
}

test_every_kind_that_is_named_by_people_is_looked_at if {
	every kind in naming.kinds {
		found := naming.deny_pattern with input as fixtures.plan([fixtures.create(kind, "a_b", {})])
		fixtures.messages(found) == {no_name("a_b")}
	}
	found := naming.deny_pattern with input as fixtures.plan([fixtures.create("Team", "a_b", {})])
	found == {{"msg": no_name("a_b"), "subject": "acme/Team/a_b", "origin": fixtures.origin("a_b"), "path": ""}}
}

test_members_have_the_name_of_their_address if {
	pattern(fixtures.create("Member", "ada_l@acme.example", {"roles": ["viewer"]})) == set()
}

test_a_name_that_is_there_may_stay if {
	pattern(fixtures.update("Team", "a_b", {}, {"displayName": "x"})) == set()
	pattern(fixtures.adopt("Team", "a_b", {})) == set()
}

test_a_new_name_for_an_old_resource_follows_the_pattern if {
	pattern(fixtures.rename("Team", "a", "a_b", {})) == {no_name("a_b")}
	pattern(fixtures.rename("Team", "a_b", "a-b", {})) == set()
}

test_a_role_that_is_called_after_what_it_is_for_passes if {
	every name in ["auditor", "owner-of-search", "member-manager", "billing"] {
		role(fixtures.create("Role", name, {})) == set()
	}
}

test_a_role_that_looks_built_in_is_denied if {
	every name in ["owners", "admins", "administrator", "members", "viewers", "root", "super-admin", "superuser", "billing-admin"] {
		role(fixtures.create("Role", name, {})) == {sprintf("the role `%s` looks like one that every organization has", [name])}
	}
	found := naming.deny_role with input as fixtures.plan([fixtures.rename("Role", "auditor", "root", {})])
	found == {{
		"msg": "the role `root` looks like one that every organization has",
		"subject": "acme/Role/root",
		"origin": fixtures.origin("root"), "path": "",
	}}
}

test_a_role_that_is_there_may_stay if {
	role(fixtures.update("Role", "root", {}, {"description": "x"})) == set()
}

test_a_project_that_says_what_it_is_passes if {
	described(fixtures.create("Project", "search", {"displayName": "Search"})) == set()
	described(fixtures.create("ServiceAccount", "bot", {"description": "Answers."})) == set()
}

test_a_project_that_does_not_is_a_warning if {
	described(fixtures.create("Project", "search", {})) == {"nothing says what the Project `search` is"}
	described(fixtures.create("Project", "search", {"displayName": ""})) == {"nothing says what the Project `search` is"}
	found := naming.warn_described with input as fixtures.plan([fixtures.create("ServiceAccount", "bot", {})])
	found == {{
		"msg": "nothing says what the ServiceAccount `bot` is",
		"subject": "acme/ServiceAccount/bot",
		"origin": fixtures.origin("bot"), "path": "",
	}}
}

test_a_project_that_was_there_is_no_warning if {
	described(fixtures.update("Project", "search", {}, {"status": "archived"})) == set()
	described(fixtures.create("Team", "research", {})) == set()
}
