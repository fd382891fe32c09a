package argus.lib.people_test

import data.argus.lib.people

now := {"time": "2026-03-01T09:00:00Z"}

member(fields) := object.union({"roles": ["member", "admin"], "status": "active", "expiresAt": null}, fields)

holds(fields, roles) if people.holds(member(fields), roles) with input as now

test_an_active_member_holds_what_they_have if {
	holds({}, {"admin", "owner"})
	holds({"expiresAt": "2026-03-01T09:00:01Z"}, {"admin"})
	not holds({}, {"owner"})
	not holds({"roles": []}, {"owner"})
}

test_holders_are_who_holds_a_role_after_the_plan if {
	doc := object.union(now, {"after": {"members": {
		"ada@acme.example": member({"roles": ["owner", "admin"]}),
		"eve@acme.example": member({"status": "suspended"}),
		"old@acme.example": member({"expiresAt": "2026-03-01T09:00:00Z"}),
		"tim@acme.example": member({"expiresAt": "2026-03-01T09:00:01Z"}),
	}}})
	held := people.holders with input as doc
	held == {
		"owner": {"ada@acme.example"},
		"admin": {"ada@acme.example", "tim@acme.example"},
		"member": {"tim@acme.example"},
	}
}

test_who_is_suspended_holds_nothing if not holds({"status": "suspended"}, {"admin"})

test_who_is_over_holds_nothing if {
	not holds({"expiresAt": "2026-03-01T09:00:00Z"}, {"admin"})
	not holds({"expiresAt": "2020-01-01T00:00:00Z"}, {"admin"})
}

test_who_is_not_there_holds_nothing if not people.holds(null, {"admin"}) with input as now
