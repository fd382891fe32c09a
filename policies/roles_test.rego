package argus.roles_test

import data.argus.lib.fixtures
import data.argus.roles

role(permissions) := fixtures.create("Role", "releaser", {"permissions": permissions})

test_a_role_that_names_what_it_allows_passes if {
	found := roles.deny_wildcard with input as fixtures.plan([role(["projects:read", "projects:release"])])
	found == set()
}

test_a_role_that_allows_everything_is_denied_at_its_permissions if {
	found := roles.deny_wildcard with input as fixtures.plan([role(["projects:read", "*"])])
	found == {{
		"msg": "the role `releaser` would allow `*`, which is for owners",
		"subject": "acme/Role/releaser",
		"origin": fixtures.origin("releaser"), "path": "permissions",
	}}
}

test_a_role_that_allows_all_of_an_area_is_denied if {
	found := roles.deny_wildcard with input as fixtures.plan([role(["keys:*", "members:*"])])
	fixtures.messages(found) == {
		"the role `releaser` would allow `keys:*`, which is for owners",
		"the role `releaser` would allow `members:*`, which is for owners",
	}
}

test_all_of_an_open_area_passes if {
	found := roles.deny_wildcard with input as fixtures.plan([role(["notifications:*", "keys:*"])])
		with roles.areas_open as {"notifications"}
	fixtures.messages(found) == {"the role `releaser` would allow `keys:*`, which is for owners"}
}

test_a_wildcard_that_was_there_denies_no_other_change_and_may_go if {
	was := {"permissions": ["keys:*"]}
	other := roles.deny_wildcard with input as fixtures.plan([fixtures.update("Role", "releaser", was, {"description": "x"})])
	other == set()
	gone := roles.deny_wildcard with input as fixtures.plan([fixtures.update("Role", "releaser", was, {"permissions": []})])
	gone == set()
	more := roles.deny_wildcard with input as fixtures.plan([fixtures.update("Role", "releaser", was, {"permissions": ["keys:*", "*"]})])
	fixtures.messages(more) == {"the role `releaser` would allow `*`, which is for owners"}
}

test_a_program_that_may_look_passes if {
	found := roles.deny_program_owner with input as fixtures.plan([fixtures.create("ServiceAccount", "bot", {"roles": ["viewer"]})])
	found == set()
}

test_a_program_that_becomes_an_owner_is_denied if {
	found := roles.deny_program_owner with input as fixtures.plan([fixtures.create("ServiceAccount", "bot", {"roles": ["viewer", "owner"]})])
	found == {{
		"msg": "the service account `bot` would be an owner",
		"subject": "acme/ServiceAccount/bot",
		"origin": fixtures.origin("bot"), "path": "roles",
	}}
	later := roles.deny_program_owner with input as fixtures.plan([fixtures.update("ServiceAccount", "bot", {"roles": []}, {"roles": ["owner"]})])
	count(later) == 1
}

test_a_program_that_was_an_owner_denies_no_other_change if {
	change := fixtures.update("ServiceAccount", "bot", {"roles": ["owner"]}, {"description": "x"})
	found := roles.deny_program_owner with input as fixtures.plan([change])
	found == set()
}
