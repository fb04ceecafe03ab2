package shop

import (
	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

// Orders shows every order by its id. A cancelled order stays visible, with
// its lines and total, as CANCELLED.
//
// Each document has the events of one aggregate alone, in their order. The
// document's key is the aggregate's id, so an event is its own change.
var Orders = domain.NewProjection("orders", 1,
	domain.From[retail.OrderDocument](func(e *retail.OrderPlaced) []domain.Change {
		return []domain.Change{{Key: e.OrderID, Record: e}}
	}),
	domain.From[retail.OrderDocument](func(e *retail.OrderCancelled) []domain.Change {
		return []domain.Change{{Key: e.OrderID, Record: e}}
	}),
	domain.Apply(func(d *retail.OrderDocument, e *retail.OrderPlaced) {
		*d = retail.OrderDocument{
			OrderID: e.OrderID, CustomerID: e.CustomerID, Country: e.Country, Status: retail.OrderStatusPlaced,
			PlacedAt: e.PlacedAt, Units: units(e.Lines), Total: value(e.Lines), Lines: e.Lines,
		}
	}),
	domain.Apply(func(d *retail.OrderDocument, _ *retail.OrderCancelled) {
		d.Status = retail.OrderStatusCancelled
	}),
)
