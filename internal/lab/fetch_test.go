package lab

import (
	"strings"
	"testing"

	"perdure/internal/errs"
	"perdure/internal/estate"
)

// The check of what is shown finds what it is there to find.
func TestWhatIsShownIsHeldAgainstProduction(t *testing.T) {
	show := estate.Showing{Table: "b.customer", Columns: []string{"id", "name", "phone"}, Plain: []string{"id"}}
	masks := []estate.Mask{{Table: "b.customer", Column: "name", As: estate.MaskHash}, {Table: "b.visit", Column: "who", As: estate.MaskHash}}
	production := func(table, column string) ([]string, error) {
		return map[string][]string{"b.customer.name": {"Li", "Wu"}, "b.visit.who": {"Qi"}, "b.customer.id": {"c-1", "c-2"}}[table+"."+column], nil
	}
	for file, want := range map[string]string{
		"\ufeffid,name,phone\r\nc-1,ab12,***4\r\nc-2,cd34,\r\n": "",
		"id,name,phone\nc-1,Li,***4\n":                          "has, as name, a value of b.customer.name of production",
		"id,name,phone\nc-1,ab12,'Wu\n":                         "has, as phone, a value of b.customer.name of production",
		"id,name,phone\nc-1,Qi,***4\n":                          "a value of b.visit.who of production",
		"id,name,phone\nc-9,ab12,***4\n":                        "has, as id, what production has not",
		"id,name,phone\n":                                       "is no table",
		"id,name\nc-1,ab12\n":                                   "is no table",
		"":                                                      "is no table",
	} {
		n, err := lookInto([]byte(file), show, masks, production)
		if want == "" && (err != nil || n != 2) || want != "" && (errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %d, %v", file, n, err)
		}
	}
}
