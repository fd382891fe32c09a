# METADATA
# title: API keys
# description: A key ends, and may do little.
package argus.keys

import data.argus.lib.changes
import data.argus.lib.people
import data.argus.lib.times

# How long a key may live.
life_days_max := 365

# Scopes that say nothing of what a key is for. So does every `area:*`.
scopes_broad := {"*", "admin"}

# METADATA
# title: Keys end
# description: A key has an end (`expiresAt`) or a length of life (`ttl`) within the longest life of a key.
# custom:
#   id: key-life
#   severity: high
#   remediation: set `ttl`, such as 90d, and a `rotation`, or an earlier `expiresAt`
deny_life contains finding if {
	some change in changes.written("ApiKey")
	not ends_in_time(change.after)
	changes.writes(change, {"expiresAt", "ttl"})
	message := sprintf("the key `%s` %s, and a key lives %d days at most", [change.name, life(change.after), life_days_max])
	finding := changes.finding(change, life_field(change.after), message)
}

# METADATA
# title: Keys have a narrow scope
# description: At least one scope says what the key is for; `admin`, `*` and `area:*` do not.
# custom:
#   id: key-scope
#   severity: high
#   remediation: add the scopes that the program needs, such as `read` or `projects:read`, and drop the broad ones
deny_scope contains finding if {
	some change in changes.written("ApiKey")
	narrow := [scope | some scope in change.after.scopes; not scope in scopes_broad; not endswith(scope, ":*")]
	count(narrow) == 0
	changes.writes(change, {"scopes"})
	message := sprintf("the key `%s` has no narrow scope", [change.name])
	finding := changes.finding(change, "scopes", message)
}

# METADATA
# title: Wildcards are for keys of owners
# description: A key with `*` or `area:*` acts for somebody who is an owner, or not at all.
# custom:
#   id: key-wildcard
#   severity: critical
#   remediation: name the permissions one by one
deny_wildcard contains finding if {
	some change in changes.written("ApiKey")
	some scope in change.after.scopes
	endswith(concat("", [":", scope]), ":*") # `*` itself, too
	changes.writes(change, {"scopes", "owner.user", "owner.serviceAccount"})
	not acts_for_an_owner(change.after)
	message := sprintf("the key `%s` may do `%s`, and acts for nobody who is an owner", [change.name, scope])
	finding := changes.finding(change, "scopes", message)
}

latest_end := times.in_days(life_days_max)

ends_in_time(key) if {
	key.expiresAt <= latest_end
} else if {
	times.seconds(key.ttl) <= life_days_max * 86400
}

life(key) := sprintf("ends at %s", [key.expiresAt]) if {
	key.expiresAt
} else := sprintf("lives %s", [key.ttl]) if {
	key.ttl
} else := "never ends"

life_field(key) := "ttl" if {
	key.ttl
} else := "expiresAt"

acts_for_an_owner(key) if key.owner.user in people.holders.owner
