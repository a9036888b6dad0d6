"""Data in, map out: folium reports, tiles, the offline basemap, styles. Knows no database."""
