# METADATA
# description: |
#   The changes of a plan as rules look at them: sorted by kind, and only those that write something.
#
#   A rule judges what a plan does, not what was there before it: it looks at a field only where the plan writes it.
#   Otherwise one old mistake would deny every plan, also the one that mends it.
package argus.lib.changes

# Changes of a kind after which there is a row that the plan has written.
written(kind) := object.get(written_by_kind, kind, [])

# The same of several kinds.
written_of(kinds) := [change |
	some kind in kinds
	some change in written(kind)
]

# Changes that take a row of a kind away.
deleted(kind) := object.get(deleted_by_kind, kind, [])

written_by_kind := {kind: rows |
	some kind, changes in by_kind
	rows := [change | some change in changes; change.action in {"create", "update", "adopt"}]
}

deleted_by_kind := {kind: rows |
	some kind, changes in by_kind
	rows := [change | some change in changes; change.action == "delete"]
}

# The changes of each kind: the list is read once, and not by every rule again.
by_kind := {kind: changes |
	some kind in {change.kind | some change in input.changes}
	changes := [change | some change in input.changes; change.kind == kind]
}

# Whether the plan brings the organization into being.
organization_is_new if {
	some change in written("Organization")
	change.before == null
}

# Whether the organization goes as a whole: what goes with it needs no judgement of its own.
organization_goes if count(deleted("Organization")) > 0

# Whether a change writes one of these fields: all of a new row, and what differs of another.
writes(change, _) if change.before == null

writes(change, paths) if {
	some field in change.fields
	field.path in paths
}

# Whether a list of the row held an item before.
had(change, field, item) if item in change.before[field]

# What a finding says of one field of a change: Argus points at the line where that field is written, or else at the
# resource.
finding(change, path, message) := {
	"msg": message,
	"subject": subject(change),
	"origin": change.origin,
	"path": path,
}

# How findings name what a change is about.
subject(change) := sprintf("%s/%s", [change.kind, change.name]) if {
	change.kind in {"Organization", "Tier"}
} else := sprintf("%s/%s/%s", [input.organization, change.kind, change.name])
