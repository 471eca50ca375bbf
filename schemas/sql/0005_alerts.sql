-- SPDX-License-Identifier: MIT
-- What became of alerts, written by latido-alert; the key is the id of a transition, so that of two
-- that write the same one row remains.
CREATE TABLE alert_event (
	fingerprint text NOT NULL,         -- Alertmanager's
	active_at   timestamptz NOT NULL,  -- since when its condition holds
	state       text NOT NULL,         -- pending, firing, resolved, cancelled
	at          timestamptz NOT NULL,  -- when it became so
	value       float8,
	name        text NOT NULL,         -- label alertname
	source      text,                  -- label instance
	labels      jsonb NOT NULL,
	annotations jsonb NOT NULL,
	rule        jsonb NOT NULL,        -- file, group, name
	PRIMARY KEY (fingerprint, active_at, state)
);
CREATE INDEX alert_event_at ON alert_event (at);
CREATE INDEX alert_event_source ON alert_event (source, at);
