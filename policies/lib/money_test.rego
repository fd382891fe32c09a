package argus.lib.money_test

import data.argus.lib.money

test_amounts_are_exact if {
	every amount, thousandths in {
		"250 USD": 250000,
		"0 USD": 0,
		"0.50 EUR": 500,
		"0.05 EUR": 50,
		"12.5 EUR": 12500,
		"1.005 KWD": 1005,
		"7 JPY": 7000,
		"10000000000000.00 USD": 10000000000000000,
		"9999999999999.99 USD": 9999999999999990,
	} {
		money.thousandths(amount) == thousandths
	}
}

test_the_currency_is_the_word_behind_the_amount if money.currency("0.50 EUR") == "EUR"

test_some_percent_of_an_amount_are_counted_exactly if {
	money.at_most("100 USD", 100, "100 USD")
	money.at_most("120 USD", 120, "100 USD")
	money.at_most("0.60 USD", 120, "0.50 USD")
	not money.at_most("120.01 USD", 120, "100 USD")
	not money.at_most("100.01 USD", 100, "100 USD")
	not money.at_most("0.61 USD", 120, "0.50 USD")
}

test_amounts_in_different_currencies_cannot_be_compared if {
	not money.at_most("1 EUR", 100, "100 USD")
	not money.at_most("1 USD", 100, "100 EUR")
}
