package argus.domains_test

import data.argus.domains
import data.argus.lib.fixtures

joins(email) := fixtures.create("Member", email, {"roles": ["viewer"]})

organization(before, fields) := fixtures.update("Organization", "acme", object.union(fixtures.rows.organization, before), fields)

member(change) := fixtures.messages(found) if found := domains.deny_member with input as fixtures.plan([change])

narrowed(change) := fixtures.messages(found) if found := domains.deny_narrowed with input as fixtures.plan([change])

billing(change) := fixtures.messages(found) if found := domains.deny_billing with input as fixtures.plan([change])

test_a_member_of_an_allowed_domain_passes if {
	member(joins("barbara@acme.example")) == set()
	member(joins("barbara@ACME.example")) == set()
}

test_a_member_of_another_domain_is_denied if {
	found := domains.deny_member with input as fixtures.plan([joins("mallory@elsewhere.example")])
	found == {{
		"msg": "`mallory@elsewhere.example` is of none of the domains that are allowed here: acme.example",
		"subject": "acme/Member/mallory@elsewhere.example",
		"origin": fixtures.origin("mallory@elsewhere.example"), "path": "",
	}}
}

test_a_domain_below_or_beside_an_allowed_one_is_another if {
	every email in ["a@mail.acme.example", "a@notacme.example", "a@acme.example.evil.example"] {
		count(member(joins(email))) == 1
	}
}

test_without_allowed_domains_everybody_passes if {
	found := domains.deny_member with input as fixtures.plan_of([joins("mallory@elsewhere.example")], {"allowedEmailDomains": []})
	found == set()
}

test_a_member_who_was_there_passes if {
	member(fixtures.update("Member", "m@elsewhere.example", {"roles": ["viewer"]}, {"roles": ["member"]})) == set()
	member(fixtures.adopt("Member", "m@elsewhere.example", {"roles": ["viewer"]})) == set()
}

test_a_member_who_gets_another_address_is_judged_by_it if {
	count(member(fixtures.rename("Member", "m@acme.example", "m@elsewhere.example", {"roles": ["viewer"]}))) == 1
}

test_a_domain_that_nobody_is_of_may_leave_the_list if {
	narrowed(organization({"allowedEmailDomains": ["acme.example", "b.example"]}, {"allowedEmailDomains": ["ACME.example"]})) == set()
}

test_a_domain_whose_members_are_there_may_not_leave_the_list if {
	found := domains.deny_narrowed with input as fixtures.plan([organization({}, {"allowedEmailDomains": ["b.example"]})])
	count(found) == 4
	some finding in found
	finding.msg == "`ada@acme.example` is a member, and of none of the domains that would be allowed: b.example"
	finding.subject == "Organization/acme"
	finding.origin == fixtures.origin("acme")
	finding.path == "allowedEmailDomains"
}

test_a_first_list_has_to_fit_those_who_are_there if {
	count(narrowed(organization({"allowedEmailDomains": []}, {"allowedEmailDomains": ["b.example"]}))) == 4
	narrowed(organization({"allowedEmailDomains": []}, {"allowedEmailDomains": ["acme.example"]})) == set()
}

test_members_who_never_fitted_do_not_keep_the_list_from_changing if {
	narrowed(organization({"allowedEmailDomains": ["b.example"]}, {"allowedEmailDomains": ["c.example"]})) == set()
}

test_a_list_may_be_emptied if {
	narrowed(organization({}, {"allowedEmailDomains": []})) == set()
}

test_other_changes_do_not_look_at_those_who_are_there if {
	narrowed(organization({"allowedEmailDomains": ["b.example"]}, {"displayName": "x"})) == set()
}

test_a_new_organization_has_members_of_its_own_to_look_at if {
	narrowed(fixtures.create("Organization", "acme", {"allowedEmailDomains": ["b.example"]})) == set()
}

test_invoices_to_an_allowed_domain_pass if {
	billing(organization({}, {"billingEmail": "money@acme.example"})) == set()
	billing(organization({}, {"billingEmail": null})) == set()
}

test_invoices_to_another_domain_are_denied if {
	found := domains.deny_billing with input as fixtures.plan([organization({}, {"billingEmail": "money@elsewhere.example"})])
	found == {{
		"msg": "invoices would go to `money@elsewhere.example`, which is of none of the allowed domains: acme.example",
		"subject": "Organization/acme",
		"origin": fixtures.origin("acme"), "path": "billingEmail",
	}}
}

test_a_list_has_to_fit_the_address_for_invoices if {
	count(billing(organization({}, {"allowedEmailDomains": ["b.example"]}))) == 1
}

test_an_old_address_for_invoices_denies_no_other_change if {
	billing(organization({"billingEmail": "money@elsewhere.example"}, {"displayName": "x"})) == set()
}

test_without_allowed_domains_invoices_go_anywhere if {
	was := {"allowedEmailDomains": []}
	billing(organization(was, {"billingEmail": "money@elsewhere.example"})) == set()
}
