# METADATA
# description: |
#   A whole input document for tests: an organization as it is, and what a plan makes of it. A test says only what it
#   changes; the fields that differ and the rows as they would be follow from that.
package argus.lib.fixtures

# The moment of every plan.
now := "2026-03-01T09:00:00Z"

# The input of a plan that makes these changes of `acme`.
plan(changes) := plan_of(changes, {"tier": "team"})

# The same for an organization with other fields.
plan_of(changes, organization) := plan_by(changes, organization, {"grace@acme.example", "grace"}, [])

# The same for other authors, with what people gain by the plan.
plan_by(changes, organization, authors, gained) := {
	"version": 1,
	"organization": "acme",
	"time": now,
	"source": {"name": "acme-config", "mode": "enforce"},
	"commit": "3f786850e387550fdab836ed7e6dc881de23001b",
	"author": "grace@acme.example",
	"signer": null,
	"authors": authors,
	"plan": {"digest": "c0ffee", "summary": {"add": 0, "change": count(changes), "destroy": 0, "release": 0}},
	"changes": changes,
	"desired": null,
	"live": null,
	"after": after_all(changes, object.union(rows.organization, organization)),
	"access": {"gained": gained, "lost": []},
	"tiers": tiers,
	"tiersBefore": {},
	"approvals": [],
}

# A row that comes.
create(kind, name, fields) := change_of(kind, name, "create", null, resource(kind, name, fields))

# A row that changes from one state to another.
update(kind, name, before, fields) := change_of(kind, name, "update", was, now_is) if {
	was := resource(kind, name, before)
	now_is := resource(kind, name, object.union(before, fields))
}

# A row that exists and becomes managed as it is.
adopt(kind, name, fields) := change_of(kind, name, "adopt", row, row) if row := resource(kind, name, fields)

# A row that goes.
delete(kind, name, fields) := change_of(kind, name, "delete", resource(kind, name, fields), null)

# A row that gets another name.
rename(kind, from, to, fields) := object.union(
	change_of(kind, to, "update", resource(kind, from, fields), resource(kind, to, fields)),
	{"previousName": from},
)

# What somebody may do by the plan and could not before.
grant(person, role) := {"person": person, "project": null, "permissions": ["*"], "role": role, "team": null}

# Where a field of a resource stands in these fixtures.
origin(name, path) := {"file": sprintf("acme/%s.yaml", [name]), "line": 10 + count(path), "column": 7}

# The messages of findings.
messages(findings) := {finding.msg | some finding in findings}

# Which of these fields of a resource findings point at.
places(findings, name, paths) := {path | some path in paths; some finding in findings; finding.origin == origin(name, path)}

# A resource: its fields, and what a row holds where nobody says so. What is null is not set, and so is not there.
resource(kind, name, fields) := object.union({"name": name, "origin": origin(name, "")}, set_only(fields_of(kind, fields)))

fields_of(kind, fields) := object.union(presets[kind], fields)

set_only(fields) := {key: without_nulls(value) | some key, value in fields; is_set(value)}

is_set(value) if {
	not is_object(value)
	value != null
}

is_set({}) := true

# Where none of some nested fields is set, there is nothing at all.
is_set(value) if {
	is_object(value)
	some inner in value
	inner != null
}

without_nulls(value) := {key: inner | some key, inner in value; inner != null} if {
	is_object(value)
} else := value

change_of(kind, name, action, before, after) := {
	"kind": kind,
	"name": name,
	"previousName": null,
	"action": action,
	"cause": "change",
	"extra": false,
	"before": before,
	"after": after,
	"fields": [field |
		some path in paths_of([before, after])
		was := value_at(before, path)
		is := value_at(after, path)
		was != is
		is_named(kind, path, before, is)
		field := {"path": path, "before": was, "after": is, "cause": "change", "origin": origin_of(after, name, path)}
	],
	"origin": origin(name, ""),
	"movedBy": null,
}

# Manifests leave out what is preset anyway.
is_named(_, _, before, _) if before != null

is_named(kind, path, null, is) if is != value_at(presets[kind], path)

# What goes is written nowhere any more.
origin_of(null, _, _) := null

origin_of(after, name, path) := origin(name, path) if after != null

# The paths that states of a resource have, with the fields of nested ones; sorted.
paths_of(states) := sort({path |
	some state in states
	state != null
	some key, value in state
	not key in {"name", "origin"}
	some path in below(key, value)
})

below(key, value) := {sprintf("%s.%s", [key, inner]) | some inner, _ in value} if {
	is_object(value)
} else := {key}

value_at(resource, path) := object.get(resource, split(path, "."), null) if is_object(resource)

value_at(null, _) := null

# All rows as they would be.
after_all(changes, organization) := object.union({"organization": organization_after(changes, organization)}, {plural: left |
	some plural, kind in kinds
	touched := {name | some change in changes; change.kind == kind; some name in {change.name, change.previousName}}
	written := {change.name: change.after | some change in changes; change.kind == kind; change.after != null}
	left := object.union(object.remove(rows[plural], touched), written)
})

# The organization after the last change of it; null where it goes.
organization_after(changes, organization) := states[count(states) - 1] if {
	states := array.concat([organization], [change.after | some change in changes; change.kind == "Organization"])
}

kinds := {
	"roles": "Role",
	"members": "Member",
	"teams": "Team",
	"projects": "Project",
	"serviceAccounts": "ServiceAccount",
	"apiKeys": "ApiKey",
	"budgets": "Budget",
	"notificationChannels": "NotificationChannel",
	"notificationRules": "NotificationRule",
	"tiers": "Tier",
}

# The organization as it is before a plan.
rows := {
	"organization": resource("Organization", "acme", {
		"displayName": "Acme Corporation",
		"tier": "team",
		"billingEmail": "billing@acme.example",
		"allowedEmailDomains": ["acme.example"],
		"requireMfa": true,
	}),
	"roles": named("Role", {"auditor": {"permissions": ["audit:read", "members:read"]}}),
	"members": named("Member", {
		"ada@acme.example": {"roles": ["owner"]},
		"katherine@acme.example": {"roles": ["owner", "billing_admin"]},
		"grace@acme.example": {"roles": ["admin"]},
		"edsger@acme.example": {"roles": ["member"]},
	}),
	"teams": named("Team", {"platform": {"displayName": "Platform", "members": [{"user": "edsger@acme.example", "role": "member"}]}}),
	"projects": named("Project", {"search": {"displayName": "Search", "teams": [{"team": "platform", "role": "developer"}]}}),
	"serviceAccounts": named("ServiceAccount", {"indexer": {"displayName": "Indexer", "roles": ["viewer"]}}),
	"apiKeys": named("ApiKey", {"indexer-main": {"owner": {"serviceAccount": "indexer"}, "scopes": ["read", "write"], "ttl": "90d"}}),
	"budgets": named("Budget", {"monthly": {
		"period": "monthly",
		"limit": "2500 USD",
		"warnAt": [50, 80],
		"onLimit": "block",
		"notify": ["ops-mail"],
	}}),
	"notificationChannels": named("NotificationChannel", {
		"ops-mail": {"type": "email", "config": {"addresses": ["ops@acme.example"]}},
		"old-mail": {"type": "email", "config": {"addresses": ["old@acme.example"]}, "enabled": false},
	}),
	"notificationRules": named("NotificationRule", {"money": {"channel": "ops-mail", "events": ["budget.*"]}}),
	"tiers": {},
}

# The tier catalogue.
tiers := {
	"free": resource("Tier", "free", {"limits": {"members": 3, "teams": 1, "projects": 3, "apiKeys": 5, "monthlySpend": "20 USD"}}),
	"team": resource("Tier", "team", {"limits": {
		"members": 6,
		"teams": 2,
		"projects": 2,
		"apiKeys": 2,
		"dailySpend": "250 USD",
		"monthlySpend": "5000 USD",
	}}),
	"enterprise": resource("Tier", "enterprise", {"limits": {"projects": 1000}}),
}

named(kind, specs) := {name: resource(kind, name, spec) | some name, spec in specs}

# What a row holds where nobody says so.
presets := {
	"Tier": {"features": {}},
	"Organization": {"status": "active", "allowedEmailDomains": [], "settings": {}, "features": {}, "labels": {}},
	"Role": {"scope": "organization", "permissions": []},
	"Member": {"roles": [], "status": "active"},
	"Team": {"members": []},
	"Project": {"status": "active", "members": [], "teams": []},
	"ServiceAccount": {"roles": [], "status": "active"},
	"ApiKey": {"scopes": []},
	"Budget": {"warnAt": [], "onLimit": "warn", "override": {"roles": []}, "notify": []},
	"NotificationChannel": {"config": {"addresses": []}, "enabled": true},
	"NotificationRule": {"events": [], "conditions": [], "priority": "normal"},
}
