# METADATA
# title: Email domains
# description: Who is in an organization, and who gets its invoices, has an address of the domains that it allows.
package argus.domains

import data.argus.lib.changes

# METADATA
# title: Members are of allowed domains
# description: Where `allowedEmailDomains` is set, a new member's address is of one of them.
# custom:
#   id: domain-member
#   severity: high
#   remediation: use an address of an allowed domain, or add the domain to `allowedEmailDomains`
deny_member contains finding if {
	count(allowed) > 0
	some change in changes.written("Member")
	not is_allowed(change.name)
	is_new(change)
	message := sprintf("`%s` is of none of the domains that are allowed here: %s", [change.name, shown])
	finding := changes.finding(change, "", message)
}

# METADATA
# title: Allowed domains fit those who are there
# description: A domain is not taken from the list while members have addresses of it.
# custom:
#   id: domain-narrowed
#   severity: medium
#   remediation: let these members go, or keep their domain in the list
deny_narrowed contains finding if {
	count(allowed) > 0
	some change in changes.written("Organization")
	change.before != null
	changes.writes(change, {"allowedEmailDomains"})
	before := {lower(domain) | some domain in change.before.allowedEmailDomains}
	some email, _ in input.after.members
	not is_allowed(email)
	was_allowed(email, before)
	message := sprintf("`%s` is a member, and of none of the domains that would be allowed: %s", [email, shown])
	finding := changes.finding(change, "allowedEmailDomains", message)
}

# METADATA
# title: Invoices stay in the house
# description: Where `allowedEmailDomains` is set, `billingEmail` is of one of them.
# custom:
#   id: domain-billing
#   severity: medium
#   remediation: use an address of an allowed domain, or add the domain to `allowedEmailDomains`
deny_billing contains finding if {
	count(allowed) > 0
	some change in changes.written("Organization")
	changes.writes(change, {"billingEmail", "allowedEmailDomains"})
	email := change.after.billingEmail
	not is_allowed(email)
	message := sprintf("invoices would go to `%s`, which is of none of the allowed domains: %s", [email, shown])
	finding := changes.finding(change, "billingEmail", message)
}

# The domains that are allowed; none allows all.
allowed := {lower(domain) | some domain in input.after.organization.allowedEmailDomains}

shown := concat(", ", allowed)

is_allowed(email) if {
	parts := split(lower(email), "@")
	parts[count(parts) - 1] in allowed
}

was_allowed(_, domains) if count(domains) == 0

was_allowed(email, domains) if domain_of(email) in domains

domain_of(email) := lower(parts[count(parts) - 1]) if parts := split(email, "@")

is_new(change) if change.before == null

is_new(change) if change.previousName != null
