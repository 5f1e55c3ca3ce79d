"""What the desk asks and writes, as bare SQL in psycopg's style; the answers name their columns.

It is what `circdesk.circulation` sends, put down by hand: a check-out locks the person, the book
and the copy, reads the rule that decides and all numbers, and writes a loan, the copy, an event and
an entry of the audit log; a return ends the loan, and writes the same.
"""

LOCK = """
    SELECT u.id AS user_id, u.category, u.status AS user_status, u.expires_on,
      c.id AS copy_id, c.book_id, c.branch_id, c.barcode, c.status, c.material_type, c.loanable,
      c.event_id, n.time_zone, n.opening_hours, n.closed_days
    FROM users u JOIN copies c ON c.id = %(copy)s JOIN books b ON b.id = c.book_id
    JOIN branches n ON n.id = c.branch_id
    WHERE u.id = %(user)s AND u.status <> 'deleted'
    FOR NO KEY UPDATE OF u, b, c
"""
NUMBERS = """
    SELECT p.id AS policy_id, p.name, p.period_unit, p.period_length, p.period_date, p.closed_days,
      p.renewals, p.max_loans, p.max_overdue, p.max_debt, p.lends, p.self_service, p.fee_per_day,
      p.fee_cap, p.grace_days, p.lost_fee,
      h.id AS hold_id, h.status AS hold_status, h.rank, h.trapped_copy_id,
      (SELECT sum(outstanding) FROM fees WHERE user_id = u.id AND outstanding > 0) AS debt,
      (SELECT count(*) FROM loans WHERE user_id = u.id AND returned_at IS NULL
        AND status = 'open' AND due_at < %(now)s) AS overdue,
      (SELECT reason FROM blocks WHERE user_id = u.id AND lifted_at IS NULL
        AND (expires_at IS NULL OR expires_at > %(now)s) ORDER BY expires_at LIMIT 1) AS block,
      (SELECT count(*) FROM loans WHERE user_id = u.id AND returned_at IS NULL
        AND status <> 'lost' AND (p.material_type IS NULL OR material_type = p.material_type)
        AND (p.branch_id IS NULL OR branch_id = p.branch_id)) AS loans,
      (SELECT count(*) FROM loans WHERE user_id = u.id AND returned_at IS NULL
        AND status <> 'lost' AND book_id = %(book)s) AS same_title,
      (SELECT due_at FROM loans WHERE copy_id = %(copy)s AND returned_at IS NULL) AS lent_until,
      (SELECT count(*) FROM holds w WHERE w.book_id = %(book)s AND w.user_id <> u.id
        AND w.ended_at IS NULL AND w.status = 'waiting'
        AND (w.suspended_until IS NULL OR w.suspended_until <= %(today)s)
        AND (w.copy_id IS NULL OR w.copy_id = %(copy)s)
        AND (h.rank IS NULL OR w.rank < h.rank)) AS ahead,
      (SELECT count(*) FILTER (WHERE status = 'available' AND loanable) FROM copies
        WHERE book_id = %(book)s) AS available
    FROM users u
    LEFT JOIN loan_policies p ON p.id = (
      SELECT id FROM loan_policies
      WHERE (user_category IS NULL OR user_category = %(category)s)
        AND (material_type IS NULL OR material_type = %(material)s)
        AND (branch_id IS NULL OR branch_id = %(branch)s)
      ORDER BY (branch_id IS NOT NULL)::int * 4 + (user_category IS NOT NULL)::int * 2
        + (material_type IS NOT NULL)::int DESC LIMIT 1)
    LEFT JOIN holds h ON h.user_id = u.id AND h.book_id = %(book)s AND h.ended_at IS NULL
      AND (h.copy_id IS NULL OR h.copy_id = %(copy)s)
      AND (h.trapped_copy_id IS NULL OR h.trapped_copy_id = %(copy)s)
    WHERE u.id = %(user)s
"""
INSERT_LOAN = """
    INSERT INTO loans (id, user_id, copy_id, book_id, branch_id, user_category, material_type,
      status, lent_at, due_at, renewals, policy_id, terms, event_id, created_at, updated_at)
    VALUES (%(loan)s, %(user)s, %(copy)s, %(book)s, %(branch)s, %(category)s, %(material)s, 'open',
      %(now)s, %(due)s, 0, %(policy)s, %(terms)s, %(event)s, %(now)s, %(now)s)
"""
UPDATE_COPY = """
    UPDATE copies SET status = %(status)s, event_id = %(event)s, updated_at = %(now)s,
      version = version + 1
    WHERE id = %(copy)s
"""
INSERT_EVENT = """
    INSERT INTO events (id, kind, subject_type, subject_id, actor_type, actor_id, user_id, data,
      occurred_at, undo, undo_until)
    VALUES (%(event)s, %(kind)s, 'loan', %(loan)s, %(actor_type)s, %(actor)s, %(user)s, %(data)s,
      %(now)s, %(undo)s, %(undo_until)s)
"""
INSERT_AUDIT = """
    INSERT INTO audit_log (id, occurred_at, action, outcome, actor_type, actor_id, target_type,
      target_id, request_id, address, details)
    VALUES (%(audit)s, %(now)s, %(kind)s, 'success', %(actor_type)s, %(actor)s, 'loan', %(loan)s,
      %(request_id)s, %(address)s, %(details)s)
"""
FIND_PLACE = """
    SELECT c.id AS copy_id, c.book_id, c.branch_id, c.status, c.loanable, c.event_id, n.time_zone,
      n.opening_hours, n.closed_days, n.updated_at AS branch_updated_at
    FROM books b JOIN copies c ON c.book_id = b.id LEFT JOIN branches n ON n.id = c.branch_id
    WHERE c.id = %(copy)s
    FOR NO KEY UPDATE OF b, c
"""
FIND_LOAN = """
    SELECT l.*, (SELECT f.amount - CASE WHEN f.loan_renewals = l.renewals THEN f.earlier
        ELSE f.amount END FROM fees f WHERE f.loan_id = l.id AND f.kind = 'overdue') AS charged
    FROM loans l LEFT JOIN branches n ON n.id = l.branch_id
    WHERE l.copy_id = %(copy)s AND l.returned_at IS NULL
    FOR NO KEY UPDATE OF l
"""
NEXT_HOLD = """
    SELECT id, status, pickup_branch_id, trapped_copy_id FROM holds
    WHERE book_id = %(book)s AND ended_at IS NULL AND (trapped_copy_id = %(copy)s
      OR (status = 'waiting' AND (suspended_until IS NULL OR suspended_until <= %(today)s)
        AND (copy_id IS NULL OR copy_id = %(copy)s)))
    ORDER BY coalesce(trapped_copy_id = %(copy)s, false) DESC, rank
    LIMIT 1
    FOR NO KEY UPDATE
"""
END_LOAN = """
    UPDATE loans SET status = 'returned', returned_at = %(now)s, event_id = %(event)s,
      updated_at = %(now)s
    WHERE id = %(loan)s
"""
