# METADATA
# description: Money as manifests write it (`250 USD`, `0.50 EUR`), in whole numbers, so that nothing is rounded.
package argus.lib.money

# The currency of an amount.
currency(amount) := split(amount, " ")[1]

# An amount in thousandths of its currency; no currency has more digits behind the point.
thousandths(amount) := (to_number(whole) * 1000) + fraction if {
	parts := split(concat("", [split(amount, " ")[0], "."]), ".")
	whole := parts[0]
	digits := parts[1]

	# A leading one, taken away again: not every engine reads a number that begins with a zero.
	fraction := to_number(substring(concat("", ["1", digits, "000"]), 0, 4)) - 1000
}

# Whether one amount is no more than some percent of another one. Amounts in different currencies never are.
at_most(amount, percent, of) if {
	currency(amount) == currency(of)
	thousandths(amount) * 100 <= thousandths(of) * percent
}
