-- A script for wrk: each client sends its own requests in order and records when each response came.
-- wrk gives every thread its own Lua state. There is one thread per client, so `started` belongs to one client.
-- wrk's own percentiles are not used: it corrects them for a fixed request rate, which a closed loop has not.

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

function init(arguments) -- the folder with one file per client, one request body per line
  bodies, sent, responses = {}, 0, {}
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
  table.insert(responses, string.format("%d %d %d", started, now(), status))
end

function done(summary)
  for _, thread in ipairs(threads) do
    for _, line in ipairs(thread:get("responses")) do
      print("response " .. line)
    end
  end
  local errors = summary.errors
  print(string.format("sockets %d", errors.connect + errors.read + errors.write + errors.timeout))
end
