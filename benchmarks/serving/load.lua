-- What wrk runs: each client sends its own texts, one after the other, and keeps when each was answered.
-- wrk gives every thread a Lua state of its own, so with one thread a client `started` is the client's own.
-- wrk's percentiles are not used: it "corrects" them for a schedule of requests that there is none of here.

local ffi = require("ffi")
ffi.cdef([[
  typedef struct { long seconds; long nanoseconds; } timespec_t;
  int clock_gettime(int clock, timespec_t *time);
]])
local time = ffi.new("timespec_t")

local function now() -- microseconds
  ffi.C.clock_gettime(1, time) -- CLOCK_MONOTONIC
  return tonumber(time.seconds) * 1e6 + math.floor(tonumber(time.nanoseconds) / 1e3)
end

local threads = {}

function setup(thread)
  thread:set("client", #threads)
  table.insert(threads, thread)
end

function init(arguments) -- the folder with one file of bodies a client, one body a line
  bodies, sent, answered = {}, 0, {}
  for line in io.lines(arguments[1] .. "/" .. client) do
    table.insert(bodies, line)
  end
end

function request()
  local body = bodies[sent % #bodies + 1]
  sent, started = sent + 1, now()
  return wrk.format("POST", nil, { ["Content-Type"] = "application/json" }, body)
end

function response(status)
  table.insert(answered, string.format("%d %d %d", started, now(), status))
end

function done(summary)
  for _, thread in ipairs(threads) do
    for _, line in ipairs(thread:get("answered")) do
      print("answer " .. line)
    end
  end
  local errors = summary.errors
  print(string.format("sockets %d", errors.connect + errors.read + errors.write + errors.timeout))
end
