/* models/silver/calendar.sql
---
description = "The retail calendar: the year and week that a day counts in, which need not be those of ISO 8601"
grain = ["day"]
kept = "latest"
entity = ["day"]
checks = ["not_null(day)", "not_null(yr_num)", "not_null(wk_num)", "unique(day)"]
columns.day = { description = "the day" }
columns.yr_num = { description = "its retail year" }
columns.wk_num = { description = "its week of the retail year" }
--- */
SELECT cal_dt AS day, yr_num, wk_num, _lineage FROM bronze.weekly_calendar
