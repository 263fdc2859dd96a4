package api

import (
	"reflect"
	"runtime"
	"strings"
)

// Scoped gives the methods of the scoped store that are its own, and not those of the store that it embeds.
func Scoped() []string {
	var names []string
	t := reflect.TypeFor[*scoped]()
	for method := range t.Methods() {
		pc := method.Func.Pointer()
		if file, _ := runtime.FuncForPC(pc).FileLine(pc); strings.HasSuffix(file, "/tenants.go") {
			names = append(names, method.Name)
		}
	}
	return names
}
