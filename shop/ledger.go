package shop

import (
	"strings"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

// Ledger is an entry of the ledger by its A-number: made once.
var Ledger = domain.NewAggregate("ledger", 1, evolveLedger,
	domain.IDAt[retail.Ledger]("/entryId"),
	domain.Handle(func(c *retail.AdjustLedger) string { return c.EntryID }, validateAdjustLedger, adjustLedger),
	domain.Records[retail.Ledger, retail.LedgerAdjusted](),
)

func validateAdjustLedger(c *retail.AdjustLedger) []domain.Fault {
	var faults []domain.Fault
	if !strings.HasPrefix(c.EntryID, "A") {
		faults = append(faults, domain.Faultf("/entryId", "wrong-prefix", "the number of a ledger entry starts with A"))
	}
	faults = append(faults, timeFaults("/adjustedAt", c.AdjustedAt)...)
	if c.Amount > ValueMax || c.Amount < -ValueMax {
		faults = append(faults, domain.Faultf("/amount", "too-large", "the amount is beyond %s pounds", ValueMax))
	}
	return faults
}

func adjustLedger(s retail.Ledger, c *retail.AdjustLedger) ([]domain.Event, *domain.Rejection) {
	if s.Adjusted {
		return nil, domain.Reject("ledger-already-adjusted", "ledger entry %s was made before", c.EntryID)
	}
	return []domain.Event{&retail.LedgerAdjusted{
		EntryID: c.EntryID, AdjustedAt: c.AdjustedAt, Amount: c.Amount, Description: c.Description,
	}}, nil
}

func evolveLedger(s retail.Ledger, e domain.Event) retail.Ledger {
	if e, ok := e.(*retail.LedgerAdjusted); ok {
		return retail.Ledger{Adjusted: true, AdjustedAt: e.AdjustedAt, Amount: e.Amount, Description: e.Description}
	}
	return s
}
