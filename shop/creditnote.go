package shop

import (
	"strings"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

// CreditNote is a credit note by its C-number: issued once. It stands for
// itself: the data does not say which order it belongs to.
var CreditNote = domain.NewAggregate("creditnote", 1, evolveCreditNote,
	domain.IDAt[retail.CreditNote]("/creditNoteId"),
	domain.Handle(func(c *retail.IssueCreditNote) string { return c.CreditNoteID }, validateIssueCreditNote, issueCreditNote),
	domain.Records[retail.CreditNote, retail.CreditNoteIssued](),
)

func validateIssueCreditNote(c *retail.IssueCreditNote) []domain.Fault {
	var faults []domain.Fault
	if !strings.HasPrefix(c.CreditNoteID, "C") {
		faults = append(faults, domain.Faultf("/creditNoteId", "wrong-prefix", "the number of a credit note starts with C"))
	}
	return append(faults, invoice{
		customerID: c.CustomerID, country: c.Country, time: c.IssuedAt, timeField: "/issuedAt", lines: c.Lines,
	}.faults()...)
}

func issueCreditNote(s retail.CreditNote, c *retail.IssueCreditNote) ([]domain.Event, *domain.Rejection) {
	if s.Issued {
		return nil, domain.Reject("credit-note-already-issued", "credit note %s was issued before", c.CreditNoteID)
	}
	return []domain.Event{&retail.CreditNoteIssued{
		CreditNoteID: c.CreditNoteID, CustomerID: c.CustomerID, Country: c.Country, IssuedAt: c.IssuedAt, Lines: c.Lines,
	}}, nil
}

func evolveCreditNote(s retail.CreditNote, e domain.Event) retail.CreditNote {
	if e, ok := e.(*retail.CreditNoteIssued); ok {
		return retail.CreditNote{
			Issued: true, CustomerID: e.CustomerID, Country: e.Country, IssuedAt: e.IssuedAt, Lines: e.Lines,
		}
	}
	return s
}
