-- Posts one body after another. Arguments after `--`: the file of bodies (one a line), the path,
-- and "ids" where each request shall name itself, so that no two heads are alike.
-- Every request is formatted once, at init; request() only indexes, or it would cost the
-- generator a fifth of its core. done() prints one line of JSON for bench/wrk.py.

local requests = {}
local at = 0

function init(args)
  local headers = { ["content-type"] = "application/json" }
  for body in io.lines(args[1]) do
    if args[3] == "ids" then headers["x-request-id"] = "bench-" .. #requests end
    requests[#requests + 1] = wrk.format("POST", args[2], headers, body)
  end
end

function request()
  at = at + 1
  if at > #requests then at = 1 end
  return requests[at]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    'bench {"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,' ..
    '"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
