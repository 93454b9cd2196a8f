-- One row a flight: what is known before it departs, and whether it arrived more than 15 minutes late.
select
    f.arr_delay > 15 as late,
    cast(make_date(f.year, f.month, f.day) as varchar) as date,
    f.month,
    cast(dayofyear(make_date(f.year, f.month, f.day)) as bigint) as day_of_year,
    cast(dayofyear(make_date(f.year, f.month, f.day)) + 1 as bigint) % 7 as weekday,  -- 0: Sunday; 2013 began on a Tuesday
    concat(f.hour, ':00') as hour,
    f.hour * 60 + f.minute as departs,  -- minutes since midnight
    cast(floor(f.sched_arr_time / 100) as bigint) * 60 + f.sched_arr_time % 100 as arrives,
    f.carrier,
    f.origin,
    f.dest,
    f.distance,
    w.temp,
    w.dewp,
    w.humid,
    w.wind_dir,
    w.wind_speed,
    w.wind_gust,
    w.precip,
    w.pressure,
    w.visib,
    f.year - p.year as plane_age,
    p.type as plane_type,
    p.manufacturer,
    p.model as plane_model,
    p.engines,
    p.seats
from flights as f
left join weather as w
    on f.origin = w.origin and f.year = w.year and f.month = w.month and f.day = w.day and f.hour = w.hour
left join planes as p
    on f.tailnum = p.tailnum
where f.arr_delay is not null
order by f.year, f.month, f.day, f.hour, f.minute, f.carrier, f.flight, f.origin
