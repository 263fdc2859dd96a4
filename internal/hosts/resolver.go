package hosts

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// ttl is what answers say about their life; resolvers of this process do not cache.
const ttl = 1

// Resolver answers from the table, and for names that are not in it asks the system's name servers.
// A program puts it in place of net.DefaultResolver before it starts anything.
func (t *Table) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: t.dial}
}

// dial gives the standard library's resolver a connection to a name server that lives in this process for one question.
// The connection ends when the resolver closes it, and with it the goroutine that answers.
func (t *Table) dial(ctx context.Context, network, address string) (net.Conn, error) {
	// A pipe is a stream to the resolver, so questions and answers come with their length in front, as over TCP.
	ours, theirs := net.Pipe()
	if deadline, ok := ctx.Deadline(); ok {
		_ = ours.SetDeadline(deadline)
	}
	go t.serve(ours, address)
	return theirs, nil
}

func (t *Table) serve(c net.Conn, upstream string) {
	defer c.Close()
	for {
		question, err := readMessage(c)
		if err != nil {
			return
		}
		answer, known := t.answer(question)
		if !known {
			if answer, err = forward(question, upstream); err != nil {
				answer = refuse(question)
			}
		}
		if answer == nil || writeMessage(c, answer) != nil {
			return
		}
	}
}

// answer gives the reply to a question about a name of the table; known is false for other names and for what it cannot read.
func (t *Table) answer(question []byte) (reply []byte, known bool) {
	var p dnsmessage.Parser
	header, err := p.Start(question)
	if err != nil {
		return nil, false
	}
	q, err := p.Question()
	if err != nil {
		return nil, false
	}
	addrs, ok := t.Lookup(q.Name.String())
	if !ok {
		return nil, false
	}
	b := dnsmessage.NewBuilder(make([]byte, 0, 512), dnsmessage.Header{
		ID: header.ID, Response: true, Authoritative: true, RecursionDesired: header.RecursionDesired, RecursionAvailable: true,
	})
	if b.StartQuestions() != nil || b.Question(q) != nil || b.StartAnswers() != nil {
		return nil, false
	}
	rr := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: ttl}
	for _, a := range addrs {
		switch {
		case q.Type == dnsmessage.TypeA && a.Unmap().Is4():
			err = b.AResource(rr, dnsmessage.AResource{A: a.Unmap().As4()})
		case q.Type == dnsmessage.TypeAAAA && a.Is6() && !a.Is4In6():
			err = b.AAAAResource(rr, dnsmessage.AAAAResource{AAAA: a.As16()})
		}
		if err != nil {
			return nil, false
		}
	}
	reply, err = b.Finish()
	return reply, err == nil
}

// refuse says that no server could be asked; nil where the question cannot be read.
func refuse(question []byte) []byte {
	var p dnsmessage.Parser
	header, err := p.Start(question)
	if err != nil {
		return nil
	}
	questions, err := p.AllQuestions()
	if err != nil {
		return nil
	}
	header.Response, header.RCode = true, dnsmessage.RCodeServerFailure
	m := dnsmessage.Message{Header: header, Questions: questions}
	reply, err := m.Pack()
	if err != nil {
		return nil
	}
	return reply
}

// forwardMost bounds one question to the system's name servers.
const forwardMost = 5 * time.Second

func forward(question []byte, upstream string) ([]byte, error) {
	c, err := net.DialTimeout("tcp", upstream, forwardMost)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(forwardMost))
	if err := writeMessage(c, question); err != nil {
		return nil, err
	}
	return readMessage(c)
}

func readMessage(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	m := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(r, m)
	return m, err
}

func writeMessage(w io.Writer, m []byte) error {
	out := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(m)), uint16(len(m)))
	_, err := w.Write(append(out, m...))
	return err
}
