package heldorder

import (
	"math/big"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"perdure/internal/errs"
	"perdure/internal/estate"
)

// Bounds of one ledger, and of what is said to it.
const (
	MostOrders    = 20_000
	MostReference = 64  // bytes, as of a holder and a system
	MostKey       = 128 // bytes; the same for callers and accounts
	MostNote      = 200 // bytes
	MostReason    = 1000
)

// Kind says where an order waits.
type Kind string

// The kinds.
const (
	Held Kind = "held" // kept back, to be entered after the takeover
	DR   Kind = "dr"   // taken at the DR side past the gateway, to be known at home
)

// State says how an order stands.
type State string

// The states.
const (
	Open    State = "open"
	Entered State = "entered" // found at the owner (H3)
	Dropped State = "dropped"
)

// Order is one order. It never changes.
type Order struct {
	// Holder is the participant that has it, and Reference what it is called there.
	Holder    string          `json:"holder"`
	Reference string          `json:"reference"`
	Kind      Kind            `json:"kind"`
	System    estate.SystemID `json:"system"`
	Unit      estate.UnitID   `json:"unit"` // that has the account
	// Account is the routing key of the request by which it is entered, Caller who sends that, Key its idempotency key.
	Account string `json:"account"`
	Caller  string `json:"caller"`
	Key     string `json:"key"`
	// Amount is a decimal above 0.
	Amount string    `json:"amount"`
	At     time.Time `json:"at"` // when it was taken
	Note   string    `json:"note,omitempty"`
}

// Ref names an order in a ledger.
type Ref struct {
	Holder    string `json:"holder"`
	Reference string `json:"reference"`
}

// Ref is the order's name.
func (o *Order) Ref() Ref { return Ref{o.Holder, o.Reference} }

func (r Ref) String() string { return r.Holder + "/" + r.Reference }

// request is what the record of an order is found by.
type request struct {
	system               estate.SystemID
	caller, account, key string
}

func (o *Order) request() request { return request{o.System, o.Caller, o.Account, o.Key} }

// same reports whether two orders say the same. Which unit has the account is the estate's affair.
func (o *Order) same(p *Order) bool {
	a, b := *o, *p
	a.At, b.At, a.Unit, b.Unit = time.Time{}, time.Time{}, "", ""
	return a == b && o.At.Equal(p.At)
}

var amountForm = regexp.MustCompile(`^(0|[1-9][0-9]{0,14})(\.[0-9]{1,4})?$`)

// wrong says which field of an order is wrong and what is allowed there; "" where none is.
func (o *Order) wrong() (field, why string) {
	for _, f := range []struct {
		name, text string
		most       int
		ascii      bool // the gateway takes nothing else
	}{
		{"holder", o.Holder, MostReference, false},
		{"reference", o.Reference, MostReference, false},
		{"system", string(o.System), MostReference, false},
		{"unit", string(o.Unit), MostReference, false},
		{"account", o.Account, MostKey, false},
		{"caller", o.Caller, MostKey, true},
		{"key", o.Key, MostKey, true},
	} {
		switch {
		case f.text == "":
			return f.name, "is missing"
		case len(f.text) > f.most:
			return f.name, "is too long: " + digits(f.most) + " bytes are the most"
		case f.ascii && strings.ContainsFunc(f.text, func(r rune) bool { return r <= ' ' || r > '~' }):
			return f.name, "has to be visible ASCII characters"
		case !plain(f.text):
			return f.name, "has to be text of one line, with nothing invisible in it"
		}
	}
	amount, ok := new(big.Rat).SetString(o.Amount)
	switch {
	case o.Kind != Held && o.Kind != DR:
		return "kind", "has to be held (to be entered after the takeover) or dr (taken at the DR side)"
	case !ok || !amountForm.MatchString(o.Amount) || amount.Sign() == 0:
		return "amount", "has to be a decimal above 0, such as 1250.00: at most 15 digits, and four after the point"
	case o.At.IsZero():
		return "time", "is missing"
	case len(o.Note) > MostNote:
		return "note", "is too long: " + digits(MostNote) + " bytes are the most"
	case !plain(o.Note):
		return "note", "has to be text of one line, with nothing invisible in it"
	}
	return "", ""
}

// plain reports whether a text is one line of what can be seen.
func plain(text string) bool {
	return utf8.ValidString(text) && strings.TrimSpace(text) == text && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

func digits(n int) string { return big.NewInt(int64(n)).String() }

// Sum is a decimal that amounts are added to; the zero Sum is 0.
type Sum struct{ of big.Rat }

// Add adds a decimal. What is none adds nothing: amounts are checked before they get anywhere.
func (s *Sum) Add(amount string) {
	if v, ok := new(big.Rat).SetString(amount); ok {
		s.of.Add(&s.of, v)
	}
}

// String has two places, or as many as it needs, up to four.
func (s *Sum) String() string {
	places, _ := s.of.FloatPrec()
	return s.of.FloatString(min(max(places, 2), 4))
}

// sameAmount reports whether two decimals are the same number.
func sameAmount(a, b string) bool {
	x, ok := new(big.Rat).SetString(a)
	y, also := new(big.Rat).SetString(b)
	return ok && also && x.Cmp(y) == 0
}

func invalid(format string, args ...any) error { return errs.New(errs.Invalid, format, args...) }
