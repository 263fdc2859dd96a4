package cli

import (
	"bufio"
	"fmt"
	"strings"

	"perdure/internal/errs"
)

// confirm asks the person before something is done. word is what has to be typed, y where it is empty.
// Without a person to ask, --yes has to say it.
func (s *session) confirm(yes bool, question, word string) error {
	if yes {
		return nil
	}
	if !s.Ask {
		return usagef("%s: %s", question, s.say(needsYes))
	}
	if word == "" {
		word = "y"
	}
	fmt.Fprintf(s.Err, "%s [%s] ", question, s.say(typeWord, word))
	line, err := bufio.NewReader(s.In).ReadString('\n')
	if err != nil || !strings.EqualFold(strings.TrimSpace(line), word) {
		return errs.New(errs.Refused, "%s", s.say(notConfirmed))
	}
	return nil
}
