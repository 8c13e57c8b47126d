-- What wrk sends. The bench writes lists of tokens and dates, and the numbers of doctors and threads, above this.
-- Arguments: the path; "book", "count" (book, and count the answers' statuses) or "available"; the first booking.

local all = {}

-- Each thread walks its own part: every `threads`-th booking.
function setup(thread)
    thread:set("offset", #all)
    table.insert(all, thread)
end

function init(args)
    path, shape, turn = args[1], args[2], tonumber(args[3]) + offset
    -- wrk is several times faster where no response is looked at.
    if shape ~= "count" then response = nil end
end

-- The number of a booking says which: the doctor changes fastest, then the date, the slot, the seat.
function request()
    local rest, doctor, day, slot = turn, 0, 0, 0
    turn = turn + threads
    rest, doctor = math.floor(rest / doctors), rest % doctors
    rest, day = math.floor(rest / #dates), rest % #dates
    rest, slot = math.floor(rest / 48), rest % 48
    -- The five seats of a slot go to five patients in a row, another five for each slot.
    local patient = (doctor * 7 + day * 13 + slot * 11 + rest % 5) % #tokens
    local body = '{"doctor_id":"doctor' .. doctor .. '@clinic.example","date":"' .. dates[day + 1] .. '"'
    local token = ""
    if shape ~= "available" then
        body = body .. string.format(',"start":"%02d:%02d"', math.floor(slot / 2), slot % 2 * 30)
        token = "Authorization: Bearer " .. tokens[patient + 1] .. "\r\n"
    end
    return "POST " .. path .. " HTTP/1.1\r\nHost: " .. wrk.headers["Host"] .. "\r\n" .. token
        .. "Content-Type: application/json\r\nContent-Length: " .. #body + 1 .. "\r\n\r\n" .. body .. "}"
end

function response(status)
    local name = "status" .. status
    _G[name] = (_G[name] or 0) + 1
end

-- One line for the bench to read.
function done(summary, latency)
    local errors, statuses = summary.errors, ""
    for status = 100, 599 do
        local count = 0
        for _, thread in ipairs(all) do count = count + (thread:get("status" .. status) or 0) end
        if count > 0 then statuses = statuses .. " " .. count .. " x " .. status end
    end
    print(string.format("measured %d %d %d %d %d %d statuses%s", summary.requests, summary.duration, errors.status,
        errors.connect + errors.read + errors.write + errors.timeout,
        latency:percentile(50), latency:percentile(99), statuses))
end
