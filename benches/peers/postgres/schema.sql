-- Doctors, what they offer, and who has booked.
CREATE TABLE doctors (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email text NOT NULL UNIQUE
);
-- Slots are numbered from midnight, weekdays from Monday.
CREATE TABLE offered (
    doctor integer NOT NULL REFERENCES doctors,
    weekday smallint NOT NULL,
    start smallint NOT NULL,
    PRIMARY KEY (doctor, weekday, start)
);
-- The row of a slot is what bookings lock. Room in each page lets a counter change in place.
CREATE TABLE slots (
    doctor integer NOT NULL,
    date date NOT NULL,
    start smallint NOT NULL,
    taken smallint NOT NULL CHECK (taken BETWEEN 0 AND 5),
    PRIMARY KEY (doctor, date, start)
) WITH (fillfactor = 70);
CREATE TABLE bookings (
    doctor integer NOT NULL,
    date date NOT NULL,
    start smallint NOT NULL,
    user_id text NOT NULL,
    PRIMARY KEY (doctor, date, start, user_id)
);
CREATE INDEX bookings_of_user ON bookings (user_id);
-- Who did what to whose booking, as the product keeps it.
CREATE TABLE audit (
    owner text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    actor text NOT NULL,
    action text NOT NULL,
    doctor text NOT NULL,
    date date NOT NULL,
    start smallint NOT NULL,
    PRIMARY KEY (owner, at, id)
);

-- Whether a user holds a seat, which is told before anything that is wrong with the slot.
CREATE FUNCTION refusal(doctor_id integer, on_date date, at smallint, who text, otherwise text) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN EXISTS (
        SELECT FROM bookings WHERE doctor = doctor_id AND date = on_date AND start = at AND user_id = who
    ) THEN 'already_booked' ELSE otherwise END
$$;

-- One transaction in one round trip. Both functions lock the slot first, so no two of them wait for each other.
CREATE FUNCTION book(doctor_email text, on_date date, at smallint, who text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    doctor_id integer;
    is_offered boolean;
BEGIN
    SELECT d.id, o.start IS NOT NULL INTO doctor_id, is_offered
    FROM doctors d
    LEFT JOIN offered o ON o.doctor = d.id AND o.weekday = extract(isodow FROM on_date) - 1 AND o.start = at
    WHERE d.email = doctor_email;
    IF NOT FOUND THEN
        RETURN 'doctor_not_found';
    END IF;
    IF NOT is_offered THEN
        RETURN refusal(doctor_id, on_date, at, who, 'slot_unavailable');
    END IF;
    INSERT INTO slots AS s VALUES (doctor_id, on_date, at, 1)
    ON CONFLICT (doctor, date, start) DO UPDATE SET taken = s.taken + 1 WHERE s.taken < 5;
    IF NOT FOUND THEN
        RETURN refusal(doctor_id, on_date, at, who, 'slot_full');
    END IF;
    INSERT INTO bookings VALUES (doctor_id, on_date, at, who) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        UPDATE slots SET taken = taken - 1 WHERE doctor = doctor_id AND date = on_date AND start = at;
        RETURN 'already_booked';
    END IF;
    INSERT INTO audit (owner, actor, action, doctor, date, start)
    VALUES (who, who, 'booking_made', doctor_email, on_date, at);
    RETURN 'done';
END
$$;

CREATE FUNCTION cancel(doctor_email text, on_date date, at smallint, who text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    doctor_id integer;
BEGIN
    SELECT id INTO doctor_id FROM doctors WHERE email = doctor_email;
    IF NOT FOUND THEN
        RETURN 'doctor_not_found';
    END IF;
    UPDATE slots SET taken = taken - 1
    WHERE doctor = doctor_id AND date = on_date AND start = at AND taken > 0;
    IF NOT FOUND THEN
        RETURN 'booking_not_found';
    END IF;
    DELETE FROM bookings WHERE doctor = doctor_id AND date = on_date AND start = at AND user_id = who;
    IF NOT FOUND THEN
        UPDATE slots SET taken = taken + 1 WHERE doctor = doctor_id AND date = on_date AND start = at;
        RETURN 'booking_not_found';
    END IF;
    INSERT INTO audit (owner, actor, action, doctor, date, start)
    VALUES (who, who, 'booking_cancelled', doctor_email, on_date, at);
    RETURN 'done';
END
$$;
