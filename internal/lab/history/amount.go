package history

import (
	"encoding/json"
	"strconv"
	"strings"

	"perdure/internal/errs"
)

// Amount is money in ten-thousandths of the currency's unit, so that sums are exact. It travels as decimal text, "12.34".
type Amount int64

// currency is one currency unit in Amounts.
const currency = 10_000

// Cents makes an Amount of hundredths.
func Cents(n int64) Amount { return Amount(n * 100) }

// String gives decimal text with two places, or four where two do not suffice.
func (a Amount) String() string {
	sign, n := "", uint64(a)
	if a < 0 {
		sign, n = "-", -n
	}
	whole, part := n/currency, n%currency
	s := sign + strconv.FormatUint(whole, 10) + "."
	if part%100 == 0 {
		return s + pad(part/100, 2)
	}
	return s + pad(part, 4)
}

func pad(n uint64, width int) string {
	s := strconv.FormatUint(n, 10)
	return strings.Repeat("0", width-len(s)) + s
}

// ParseAmount reads decimal text with at most four significant places.
func ParseAmount(s string) (Amount, error) {
	digits, negative := strings.CutPrefix(s, "-")
	whole, part, _ := strings.Cut(digits, ".")
	part = strings.TrimRight(part, "0")
	if whole == "" || len(part) > 4 {
		return 0, errs.New(errs.Invalid, "amount %q: want decimal text with at most 4 places, such as 12.34", s)
	}
	part += strings.Repeat("0", 4-len(part))
	w, err := strconv.ParseUint(whole, 10, 63)
	if err != nil || w > (1<<63-1)/currency-1 {
		return 0, errs.New(errs.Invalid, "amount %q: want decimal text below 900 trillion", s)
	}
	p, err := strconv.ParseUint(part, 10, 63)
	if err != nil {
		return 0, errs.New(errs.Invalid, "amount %q: want decimal text, such as 12.34", s)
	}
	n := Amount(w*currency + p)
	if negative {
		n = -n
	}
	return n, nil
}

// MarshalText writes decimal text.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalJSON reads decimal text or a JSON number.
func (a *Amount) UnmarshalJSON(b []byte) error {
	text := string(b)
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	}
	n, err := ParseAmount(text)
	if err != nil {
		return err
	}
	*a = n
	return nil
}
